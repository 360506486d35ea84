//! A directory of documents while it is served: what is in force, its history, and changes to both.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

mod edits;
mod order;

use self::order::Order;
use super::accepted::Accepted;
use super::change::{Applied, ApplyError, Change};
use super::composition::Wanted;
use super::directory::{self, Files, Scan};
use super::figures::Figures;
use super::history::{Edits, History, LogError, Signature};
use super::journal::{self, Failed};
use super::revision::{Kept, Origin, Revision};
use super::{Diagnostics, LoadError, OpenError, Store};
use crate::keychain::{self, Reading};
use crate::model::Model;
use crate::model::corpus::{Changes, Corpus};
use crate::telemetry::Parent;

/// Who changes a directory otherwise than by the admin API is not known.
const BY_HAND: &str = "directory";

/// A directory of documents that is served, with its history.
#[derive(Debug)]
pub struct DirectoryStore {
    dir: PathBuf,
    state: Mutex<State>,
    /// What was found in the last look, so that the next one reads only what has changed.
    last: Mutex<Arc<Scan>>,
    accepted: watch::Sender<Arc<Accepted>>,
    figures: Figures,
}

#[derive(Debug)]
struct State {
    corpus: Corpus,
    /// The files that are in force.
    files: Arc<Files>,
    history: History,
    /// Counts writes. What was read before one says nothing about now.
    writes: u64,
}

/// What became of what was found in a directory.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is what was in force.
    Same,
    /// It is in force now; the number says as which revision.
    Accepted(u64),
    /// It is not valid.
    Invalid(Diagnostics),
    /// It was read before the last write, and says nothing.
    Outdated,
    /// It is valid, but could not be entered into the history.
    NotKept(LogError),
}

impl DirectoryStore {
    /// Takes a directory into force. An interrupted change is finished first.
    pub(super) fn open(dir: &Path, state: Option<&Path>) -> Result<Self, OpenError> {
        let unavailable = |path: &Path, source| LoadError::Unavailable { dir: path.to_owned(), source };
        let interrupted =
            journal::recover(dir).map_err(|Failed { path, source }| unavailable(&path, source))?;
        let mut history = match state {
            Some(state) => History::kept_in(state)?,
            None => History::in_memory(),
        };
        let scan = directory::scan(dir, &Files::new()).map_err(|source| unavailable(dir, source))?;
        if scan.files.is_empty() {
            return Err(LoadError::Invalid(Diagnostics(vec![directory::nothing_in(dir)])).into());
        }
        let mut corpus = Corpus::reading(Reading::Starting);
        let changes = edits::changed(&Files::new(), &scan.files);
        corpus.change(changes).map_err(|errors| LoadError::Invalid(Diagnostics(errors)))?;
        corpus.keychain().set_reading(Reading::Strict);
        let before = history.documents();
        let edits = edits::between(&before, &edits::texts(&scan.files));
        let is_new = history.newest() == 0;
        let signature = match interrupted {
            Some(journal) if journal.revision == history.newest() + 1 => journal.signature,
            _ if is_new => signature(BY_HAND, "the documents when the history began", Origin::Start),
            _ => signature(BY_HAND, "changed while nobody was serving it", Origin::Directory),
        };
        let documents = if edits.is_empty() && !is_new {
            before
        } else {
            let revision = history.add(signature, edits.clone())?;
            edits::made(before, &edits, revision)
        };
        let accepted = Accepted {
            revision: history.newest(),
            documents: Arc::new(documents),
            model: Arc::clone(corpus.model()),
            ..Accepted::default()
        };
        Ok(Self {
            dir: dir.to_owned(),
            state: Mutex::new(State { corpus, files: Arc::clone(&scan.files), history, writes: 0 }),
            last: Mutex::new(Arc::new(scan)),
            accepted: watch::Sender::new(Arc::new(accepted)),
            figures: Figures::default(),
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was found last.
    pub(super) fn last(&self) -> Arc<Scan> {
        Arc::clone(&self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Holds on to what was found. The next look may be at a few files only and takes the rest from here, so nothing that is here may be older than what
    /// is in force: only whoever has the state may do this.
    fn found(&self, _: &State, scan: Scan) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(scan);
    }

    /// How many writes there were.
    pub(super) fn writes(&self) -> u64 {
        self.state().writes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the directory, or only at some files of which it was said that they, and nothing else, have changed. `writes` is the count before.
    pub(super) fn look(&self, changed: Option<&BTreeSet<PathBuf>>, writes: u64) -> Result<Scan, LoadError> {
        let glanced = changed.and_then(|paths| directory::glance(&self.last(), paths));
        let scan = glanced.map_or_else(|| self.scan(), Ok)?;
        let state = self.state();
        if state.writes == writes {
            self.found(&state, scan.clone());
        }
        Ok(scan)
    }

    fn scan(&self) -> Result<Scan, LoadError> {
        directory::scan(&self.dir, &self.last().files)
            .map_err(|source| LoadError::Unavailable { dir: self.dir.clone(), source })
    }

    /// Takes what was found into force, if it is valid. `writes` is the count before it was looked for.
    /// It was noticed so long ago.
    pub(super) fn accept(&self, scan: &Scan, writes: u64, ago: Duration) -> Outcome {
        let mut state = self.state();
        if state.writes != writes {
            return Outcome::Outdated;
        }
        self.accept_in(&mut state, scan, ago)
    }

    fn accept_in(&self, state: &mut State, scan: &Scan, ago: Duration) -> Outcome {
        let changes = edits::changed(&state.files, &scan.files);
        if changes.is_empty() {
            return Outcome::Same;
        }
        if scan.files.is_empty() {
            return Outcome::Invalid(Diagnostics(vec![directory::nothing_in(&self.dir)]));
        }
        let names: Vec<_> = changes.keys().take(4).filter_map(|path| path.file_name()?.to_str()).collect();
        let more = if changes.len() > names.len() { ", ..." } else { "" };
        let mut signature =
            signature(BY_HAND, &format!("changed {}{more}", names.join(", ")), Origin::Directory);
        signature.time = signature.time.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(0));
        match self.change(state, &scan.files, changes, signature) {
            Ok(()) => Outcome::Accepted(state.history.newest()),
            Err(Refused::Invalid(diagnostics)) => Outcome::Invalid(diagnostics),
            Err(Refused::NotKept(error)) => Outcome::NotKept(error),
        }
    }

    /// Takes files into force that are on disk already.
    fn change(
        &self,
        state: &mut State,
        files: &Arc<Files>,
        changes: Changes,
        signature: Signature,
    ) -> Result<(), Refused> {
        let edits = edits::of(&state.files, &changes);
        let pending = state.corpus.begin(changes).map_err(|errors| Refused::Invalid(Diagnostics(errors)))?;
        if !edits.is_empty() {
            state.history.add(signature, edits.clone()).map_err(Refused::NotKept)?;
        }
        let model = pending.keep();
        self.publish(state, files, model, &edits, Parent::default());
        Ok(())
    }

    /// Makes files what is in force; their revision is in the history, and their model is the corpus's.
    fn publish(
        &self,
        state: &mut State,
        files: &Arc<Files>,
        model: Arc<Model>,
        edits: &Edits,
        cause: Parent,
    ) {
        state.files = Arc::clone(files);
        let revision = state.history.newest();
        let last = self.latest();
        let documents = if edits.is_empty() {
            Arc::clone(&last.documents)
        } else {
            Arc::new(edits::made(BTreeMap::clone(&last.documents), edits, revision))
        };
        let (edited, since) = (state.history.newest_time(), milliseconds());
        self.accepted.send_replace(Arc::new(Accepted { revision, documents, model, edited, since, cause }));
    }

    /// Looks at the files that documents in force name. What changed in them is in force when this returns.
    pub(super) fn rotate(&self) -> Rotated {
        let mut state = self.state();
        let model = Arc::clone(state.corpus.model());
        let keychain = state.corpus.keychain();
        keychain.retain(|files| model.certificates.values().any(|certificate| certificate.files == *files));
        let changes = keychain.rotate();
        if changes.iter().any(|(_, change)| *change == keychain::Change::Replaced) && state.corpus.refill() {
            let model = Arc::clone(state.corpus.model());
            let accepted = Accepted { model, ..Accepted::clone(&self.latest()) };
            self.accepted.send_replace(Arc::new(accepted));
        }
        Rotated { model, changes }
    }
}

/// What became of the files that documents name.
pub(super) struct Rotated {
    /// The documents.
    pub(super) model: Arc<Model>,
    pub(super) changes: Vec<(keychain::Files, keychain::Change)>,
}

enum Refused {
    Invalid(Diagnostics),
    NotKept(LogError),
}

impl Store for DirectoryStore {
    fn latest(&self) -> Arc<Accepted> {
        Arc::clone(&self.accepted.borrow())
    }

    fn figures(&self) -> &Figures {
        &self.figures
    }

    fn subscribe(&self) -> watch::Receiver<Arc<Accepted>> {
        self.accepted.subscribe()
    }

    fn apply(&self, change: Change) -> Result<Applied, ApplyError> {
        let Change { put, delete, author, message, cause, expected, dry_run } = change;
        let submitted: Vec<_> = put.iter().map(|raw| crate::document::read(&raw.name, &raw.bytes)).collect();
        let mut wanted = Wanted::new();
        let mut is_sound = true;
        for contents in &submitted {
            is_sound &= contents.diagnostics.is_empty() && !contents.has_nameless;
            for document in &contents.documents {
                let key = (document.kind, document.name.clone());
                is_sound &= wanted.insert(key, Some(document.text().into())).is_none();
            }
        }
        let latest = self.latest();
        for key in delete {
            if !latest.documents.contains_key(&key) {
                return Err(ApplyError::NotFound { kind: key.0, name: key.1 });
            }
            wanted.insert(key, None);
        }
        if !is_sound {
            let state = self.state();
            let files = Arc::clone(&state.files);
            let changes = order::as_submitted(&state, &files, &wanted, &submitted);
            let errors = state.corpus.check_text(&changes);
            return Err(ApplyError::Invalid(Diagnostics(errors)));
        }
        let order = Order {
            wanted,
            submitted,
            signature: signature(&author, &message, Origin::Api),
            cause,
            expected,
            dry_run,
        };
        self.write(order)
    }

    fn rollback(
        &self,
        to: u64,
        author: String,
        message: String,
        cause: Parent,
        dry_run: bool,
    ) -> Result<Applied, ApplyError> {
        let wanted = self.back_to(to)?;
        let signature = signature(&author, &message, Origin::Rollback(to));
        self.write(Order { wanted, submitted: Vec::new(), signature, cause, expected: None, dry_run })
    }

    fn revisions(&self, numbers: RangeInclusive<u64>) -> Vec<Revision> {
        self.state().history.revisions(&numbers)
    }

    fn model_at(&self, revision: u64) -> Result<Arc<Model>, ApplyError> {
        let back = self.back_to(revision)?;
        let latest = self.latest();
        let now = latest.documents.iter().filter(|(key, _)| !back.contains_key(*key));
        let texts = now.map(|(key, stored)| (key, &stored.text));
        let texts = texts.chain(back.iter().filter_map(|(key, text)| Some((key, text.as_ref()?))));
        let contents = texts.map(|((kind, name), text)| {
            crate::document::read(format!("revision {revision}/{kind} {name}"), text.as_bytes())
        });
        Model::build(contents).map(Arc::new).map_err(|errors| ApplyError::Invalid(Diagnostics(errors)))
    }

    fn kept(&self) -> Kept {
        self.state().history.kept()
    }
}

impl DirectoryStore {
    fn back_to(&self, revision: u64) -> Result<Wanted, ApplyError> {
        let state = self.state();
        state.history.back_to(revision).ok_or_else(|| {
            let Kept { oldest, newest, .. } = state.history.kept();
            ApplyError::NoRevision { number: revision, kept: format!("{oldest} to {newest} are kept") }
        })
    }
}

fn signature(author: &str, message: &str, origin: Origin) -> Signature {
    Signature { time: milliseconds(), author: author.to_owned(), message: message.to_owned(), origin }
}

/// Since 1970.
fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
