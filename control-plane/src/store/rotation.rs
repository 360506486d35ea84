//! The task that looks at certificates: whether their files have changed, and whether their time is running out.
//!
//! It looks rather than waits to be notified, because what replaces files differs: an editor, a `mv`, a directory whose links a cluster
//! switches, a network share that notifies nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Store as _;
use super::live::{DirectoryStore, Rotated};
use crate::keychain::{self, Change, Files};
use crate::looks::Looks;
use crate::model::Model;

/// A certificate that expires within this time, in seconds, is warned about: two weeks are enough to get another.
const SOON: i64 = 14 * 24 * 60 * 60;

/// What is known about a certificate's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Young,
    Expiring,
    Expired,
}

pub(super) async fn run(store: Arc<DirectoryStore>, stop: CancellationToken) {
    let mut told = BTreeMap::new();
    let mut looks = Looks::until(stop);
    while looks.next().await {
        let looking = Arc::clone(&store);
        let Ok(Rotated { model, changes }) = tokio::task::spawn_blocking(move || looking.rotate()).await
        else {
            error!("certificates can't be looked at any more");
            return;
        };
        for (files, change) in &changes {
            for name in names(&model, files) {
                report(name, change);
            }
        }
        ages(&store.latest().model, &mut told, keychain::now());
    }
}

/// The Certificates with these files.
fn names<'m>(model: &'m Model, files: &Files) -> impl Iterator<Item = &'m str> {
    let certificates = model.certificates.iter().filter(move |(_, certificate)| certificate.files == *files);
    certificates.map(|(name, _)| name.as_str())
}

fn report(certificate: &str, change: &Change) {
    match change {
        Change::Replaced => info!(certificate, "the certificate's files have changed, and are in force"),
        Change::Mended => info!(certificate, "the certificate's files are again what is in force"),
        Change::Refused(faults) => {
            for (field, fault) in faults {
                let field = field.name();
                error!(certificate, field, reason = %fault, "the certificate's files can't be used; what was in force stays in force");
            }
        }
    }
}

/// Says once what time does to certificates.
fn ages(model: &Model, told: &mut BTreeMap<String, Age>, now: i64) {
    told.retain(|name, _| model.certificates.contains_key(name));
    for (name, certificate) in &model.certificates {
        let Some(pair) = certificate.material.as_ref().and_then(|material| material.pair.as_ref()) else {
            continue;
        };
        let age = age(pair.not_after, now);
        if told.insert(name.clone(), age) == Some(age) {
            continue;
        }
        let expires = keychain::date(pair.not_after);
        match age {
            Age::Young => {}
            Age::Expiring => warn!(certificate = name, expires, "the certificate expires soon"),
            Age::Expired => {
                error!(
                    certificate = name,
                    expires, "the certificate has expired; it stays in force until its files are replaced"
                );
            }
        }
    }
}

fn age(not_after: i64, now: i64) -> Age {
    match not_after.saturating_sub(now) {
        left if left < 0 => Age::Expired,
        left if left < SOON => Age::Expiring,
        _ => Age::Young,
    }
}

#[cfg(test)]
mod tests;
