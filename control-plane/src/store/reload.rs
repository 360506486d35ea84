//! The task that takes changes of a directory into force.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::directory::{self, Listing, Scan};
use super::live::{DirectoryStore, Outcome};
use super::watcher::Watcher;
use super::{Diagnostics, LoadError, Store as _};
use crate::document::Diagnostic;
use crate::document::kind::Kind;

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

pub(super) async fn run(store: Arc<DirectoryStore>, mut watcher: Watcher, stop: CancellationToken) {
    let mut reload = Reload {
        seen: Arc::clone(&store.last().listing),
        store,
        refused: None,
        told: String::new(),
        waits: false,
    };
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
    store: Arc<DirectoryStore>,
    /// What was read last, valid or not.
    seen: Arc<Listing>,
    /// What was reported last and is still so.
    refused: Option<[u8; 32]>,
    /// How that was reported.
    told: String,
    /// Whether it is a document that names files that can't be used yet: those may come without the document changing.
    waits: bool,
}

/// What was found, and how many writes there had been before.
struct Found {
    scan: Result<Scan, LoadError>,
    writes: u64,
    /// Whether there was one before it was held on to.
    outdated: bool,
}

/// What came of something that was read.
enum Read {
    /// It is in force, or it was said why not.
    Settled,
    /// There was a write since.
    Outdated,
}

impl Reload {
    async fn after_notification(&mut self, watcher: &mut Watcher) {
        let mut noticed = Instant::now();
        let mut latest = noticed + MAX_WAIT;
        let mut everything = false;
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
            let found = self.look(watcher.take_changed().filter(|_| !everything)).await;
            // What a write made outdated is not held on to, and is not named again.
            everything |= found.outdated;
            sleep(SETTLE).await;
            if !watcher.drain() {
                return self.accept(found, noticed).await;
            }
            // Whatever began while files were read may have been read by half. What was complete need not wait for ever.
            if watcher.unfinished_until().is_none() && Instant::now() >= latest {
                self.accept(found, noticed).await;
                noticed = Instant::now();
                latest = noticed + MAX_WAIT;
            }
        }
    }

    async fn if_different(&mut self, watcher: &mut Watcher) {
        let noticed = Instant::now();
        let Ok(found) = self.list().await else {
            let found = self.look(None).await;
            return self.accept(found, noticed).await;
        };
        if (found == *self.seen && !self.waits) || watcher.unfinished_until().is_some() {
            return;
        }
        sleep(UNNOTIFIED_QUIET).await;
        let look = self.look(None).await;
        if look.scan.as_ref().is_ok_and(|scan| *scan.listing != found) || watcher.drain() {
            // Still changing: the next look is soon enough.
            return;
        }
        self.accept(look, noticed).await;
    }

    async fn list(&self) -> Result<Listing, ()> {
        let dir = self.store.dir().to_owned();
        let listing = tokio::task::spawn_blocking(move || directory::list(&dir)).await;
        listing.map_err(drop)?.map_err(drop)
    }

    /// Reads what has changed; everything is looked at where it is not known what that may be.
    async fn look(&self, changed: Option<BTreeSet<PathBuf>>) -> Found {
        let store = Arc::clone(&self.store);
        let looked = tokio::task::spawn_blocking(move || {
            let writes = store.writes();
            let scan = store.look(changed.as_ref(), writes);
            Found { scan, writes, outdated: store.writes() != writes }
        });
        looked.await.unwrap_or_else(|error| {
            let scan = Err(self.failed(error));
            Found { scan, writes: 0, outdated: true }
        })
    }

    fn failed(&self, error: tokio::task::JoinError) -> LoadError {
        LoadError::Unavailable { dir: self.store.dir().to_owned(), source: std::io::Error::other(error) }
    }

    /// Takes what was read into force, or says why not.
    async fn accept(&mut self, mut found: Found, noticed: Instant) {
        while let Read::Outdated = self.take(found, noticed).await {
            // There was a write meanwhile. What was noticed is on disk all the same.
            found = self.look(None).await;
        }
    }

    async fn take(&mut self, found: Found, noticed: Instant) -> Read {
        let read = noticed.elapsed();
        let scan = match found.scan {
            Ok(scan) => scan,
            Err(error) => {
                // All zero is no digest of anything that was read.
                if self.refused.replace([0; 32]) != Some([0; 32]) {
                    let reason = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, reason, "the documents cannot be read; what was in force stays in force");
                    self.store.figures().refuse();
                }
                self.seen = Arc::default();
                return Read::Settled;
            }
        };
        self.seen = Arc::clone(&scan.listing);
        // What is in force most often was never refused.
        if !self.waits && self.refused.is_some_and(|refused| refused == scan.digest()) {
            return Read::Settled;
        }
        let (store, writes) = (Arc::clone(&self.store), found.writes);
        let found = scan.clone();
        let ago = noticed.elapsed();
        let outcome = tokio::task::spawn_blocking(move || store.accept(&found, writes, ago)).await;
        match outcome {
            Ok(Outcome::Same) => {
                self.mended();
                if self.refused.take().is_some() {
                    tracing::info!("the documents are again what is in force");
                }
            }
            Ok(Outcome::Accepted(revision)) => {
                self.refused = None;
                self.mended();
                self.store.figures().debounce.observe(read);
                self.store.figures().lag.observe(noticed.elapsed());
                tracing::info!(revision, "documents read");
            }
            Ok(Outcome::Invalid(diagnostics)) => {
                let digest = scan.digest();
                if self.refused.replace(digest) != Some(digest) {
                    self.store.figures().debounce.observe(read);
                    self.store.figures().refuse();
                }
                self.waits = diagnostics.0.iter().any(is_certificates);
                let text = diagnostics.to_string();
                if self.told != text {
                    self.told = text;
                    report(&diagnostics);
                }
            }
            Ok(Outcome::Outdated) => return Read::Outdated,
            Ok(Outcome::NotKept(error)) => {
                self.seen = Arc::default();
                let text = error.to_string();
                if self.told != text {
                    self.told = text;
                    self.store.figures().refuse();
                    tracing::error!(%error, "the documents have changed, but the history cannot be written; what was in force stays in force");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the documents could not be taken into force");
            }
        }
        Read::Settled
    }

    fn mended(&mut self) {
        self.told.clear();
        self.waits = false;
        self.store.figures().mend();
    }
}

/// Whether it is about a document that names files.
fn is_certificates(diagnostic: &Diagnostic) -> bool {
    diagnostic.document.starts_with(Kind::Certificate.name())
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

#[cfg(test)]
mod tests;
