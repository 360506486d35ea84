//! The task that turns changes in a directory into models.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::directory::{self, Listing, Scan, State};
use super::watcher::Watcher;
use super::{Diagnostics, FileStore, LoadError};
use crate::model::Model;

/// How long it has to be quiet after a change: tools that change several files, or one in several steps, get so much time between two.
const QUIET: Duration = Duration::from_millis(8);

/// Under changes that never cease, the directory is looked at this long after the first.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// How long notifications about what happened while files were read may take to arrive.
const SETTLE: Duration = Duration::from_millis(2);

/// How often the directory is compared with what was read, for changes that nobody notified about.
const RESCAN: Duration = Duration::from_secs(2);

/// A difference that nobody notified about has to be the same for this long: there is no other sign that a file is complete.
const UNNOTIFIED_QUIET: Duration = Duration::from_millis(250);

pub(super) async fn run(
    store: FileStore,
    mut watcher: Watcher,
    state: State,
    models: watch::Sender<Arc<Model>>,
    stop: CancellationToken,
) {
    let mut reload = Reload { store, seen: state.listing, in_force: state.digest, refused: None, models };
    let work = async {
        loop {
            if let Ok(()) = timeout_at(Instant::now() + RESCAN, watcher.changed()).await {
                reload.after_notification(&mut watcher).await;
            } else {
                watcher.follow();
                reload.if_different(&mut watcher).await;
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

struct Reload {
    store: FileStore,
    /// What was read last, valid or not.
    seen: Listing,
    in_force: [u8; 32],
    /// What was reported last and is still so.
    refused: Option<[u8; 32]>,
    models: watch::Sender<Arc<Model>>,
}

impl Reload {
    async fn after_notification(&mut self, watcher: &mut Watcher) {
        let mut latest = Instant::now() + MAX_WAIT;
        loop {
            // Each further change starts the quiet time anew, up to a limit.
            while timeout_at((Instant::now() + QUIET).min(latest), watcher.changed()).await.is_ok() {}
            if let Some(until) = watcher.unfinished_until() {
                // Somebody is writing: the next notification tells more.
                tokio::select! {
                    () = watcher.changed() => {}
                    () = sleep_until(until) => {}
                }
                continue;
            }
            let scan = self.scan().await;
            sleep(SETTLE).await;
            if !watcher.drain() {
                return self.accept(scan);
            }
            // Whatever began while files were read may have been read by half. What was complete need not wait for ever.
            if watcher.unfinished_until().is_none() && Instant::now() >= latest {
                self.accept(scan);
                latest = Instant::now() + MAX_WAIT;
            }
        }
    }

    async fn if_different(&mut self, watcher: &mut Watcher) {
        let Ok(found) = self.list().await else { return self.accept(self.scan().await) };
        if found == self.seen || watcher.unfinished_until().is_some() {
            return;
        }
        sleep(UNNOTIFIED_QUIET).await;
        let scan = self.scan().await;
        if scan.as_ref().is_ok_and(|scan| scan.state().listing != found) || watcher.drain() {
            // Still changing: the next look is soon enough.
            return;
        }
        self.accept(scan);
    }

    async fn list(&self) -> Result<Listing, ()> {
        let dir = self.store.dir.clone();
        let listing = tokio::task::spawn_blocking(move || directory::list(&dir)).await;
        listing.map_err(drop)?.map_err(drop)
    }

    async fn scan(&self) -> Result<Scan, LoadError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.scan()).await {
            Ok(scan) => scan,
            Err(error) => Err(LoadError::Unavailable {
                dir: self.store.dir.clone(),
                source: std::io::Error::other(error),
            }),
        }
    }

    /// Takes what was read into force, or says why not.
    fn accept(&mut self, scan: Result<Scan, LoadError>) {
        let scan = match scan {
            Ok(scan) => scan,
            Err(error) => {
                // All zero is no digest of anything that was read.
                if self.refused.replace([0; 32]) != Some([0; 32]) {
                    let reason = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, reason, "the documents cannot be read; what was in force stays in force");
                }
                self.seen = Listing::new();
                return;
            }
        };
        let State { listing, digest } = scan.state();
        self.seen = listing;
        if digest == self.in_force {
            if self.refused.take().is_some() {
                tracing::info!("the documents are again what is in force");
            }
            return;
        }
        if self.refused == Some(digest) {
            return;
        }
        match scan.model() {
            Ok(model) => {
                tracing::info!(
                    gateways = model.gateways.len(),
                    routes = model.routes.len(),
                    backends = model.backends.len(),
                    policies = model.policies.len(),
                    "documents read"
                );
                self.in_force = digest;
                self.refused = None;
                self.models.send_replace(Arc::new(model));
            }
            Err(diagnostics) => {
                self.refused = Some(digest);
                report(&diagnostics);
            }
        }
    }
}

/// One log event for each error, and one that says what follows.
fn report(Diagnostics(diagnostics): &Diagnostics) {
    for diagnostic in diagnostics {
        tracing::error!(
            file = %diagnostic.file.display(),
            line = diagnostic.place.map(|place| place.line),
            column = diagnostic.place.map(|place| place.column),
            document = %diagnostic.document,
            field = %diagnostic.field,
            message = diagnostic.message,
        );
    }
    tracing::error!(
        errors = diagnostics.len(),
        "the documents have errors; what was in force stays in force"
    );
}
