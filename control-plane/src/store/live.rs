//! A directory of documents while it is served: what is in force, its history, and changes to both.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::accepted::{Accepted, Key, Stored};
use super::change::{Applied, ApplyError, Change};
use super::composition::{self, Wanted};
use super::directory::{self, Files, Scan, Seen};
use super::history::{self, Edit, Edits, History, LogError, Signature};
use super::journal::{self, Failed, Journal};
use super::revision::{Kept, Origin, Revision};
use super::{Diagnostics, LoadError, OpenError, Store};
use crate::document::Contents;
use crate::keychain::{self, Reading};
use crate::model::Model;
use crate::model::corpus::{Changes, Corpus};

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
        let changes = changed(&Files::new(), &scan.files);
        corpus.change(changes).map_err(|errors| LoadError::Invalid(Diagnostics(errors)))?;
        corpus.keychain().set_reading(Reading::Strict);
        let before = history.documents();
        let edits = edits(&before, &texts(&scan.files));
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
            with(before, &edits, revision)
        };
        let accepted = Accepted {
            revision: history.newest(),
            documents: Arc::new(documents),
            model: Arc::clone(corpus.model()),
        };
        Ok(Self {
            dir: dir.to_owned(),
            state: Mutex::new(State { corpus, files: Arc::clone(&scan.files), history, writes: 0 }),
            last: Mutex::new(Arc::new(scan)),
            accepted: watch::Sender::new(Arc::new(accepted)),
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was found last.
    pub(super) fn last(&self) -> Arc<Scan> {
        Arc::clone(&self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn found(&self, scan: &Scan) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(scan.clone());
    }

    /// How many writes there were.
    pub(super) fn writes(&self) -> u64 {
        self.state().writes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the directory.
    pub(super) fn scan(&self) -> Result<Scan, LoadError> {
        let scan = directory::scan(&self.dir, &self.last().files)
            .map_err(|source| LoadError::Unavailable { dir: self.dir.clone(), source })?;
        self.found(&scan);
        Ok(scan)
    }

    /// Looks at some files of which it was said that they, and nothing else, have changed.
    pub(super) fn glance(&self, paths: &std::collections::BTreeSet<PathBuf>) -> Result<Scan, LoadError> {
        match directory::glance(&self.last(), paths) {
            Some(scan) => {
                self.found(&scan);
                Ok(scan)
            }
            None => self.scan(),
        }
    }

    /// Takes what was found into force, if it is valid. `writes` is the count before it was looked for.
    pub(super) fn accept(&self, scan: &Scan, writes: u64) -> Outcome {
        let mut state = self.state();
        if state.writes != writes {
            return Outcome::Outdated;
        }
        self.accept_in(&mut state, scan)
    }

    fn accept_in(&self, state: &mut State, scan: &Scan) -> Outcome {
        let changes = changed(&state.files, &scan.files);
        if changes.is_empty() {
            return Outcome::Same;
        }
        if scan.files.is_empty() {
            return Outcome::Invalid(Diagnostics(vec![directory::nothing_in(&self.dir)]));
        }
        let names: Vec<_> = changes.keys().take(4).filter_map(|path| path.file_name()?.to_str()).collect();
        let more = if changes.len() > names.len() { ", ..." } else { "" };
        let signature = signature(BY_HAND, &format!("changed {}{more}", names.join(", ")), Origin::Directory);
        match self.change(state, &scan.files, changes, signature) {
            Ok(_) => Outcome::Accepted(state.history.newest()),
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
    ) -> Result<Edits, Refused> {
        state.corpus.check(&changes).map_err(|errors| Refused::Invalid(Diagnostics(errors)))?;
        let edits = edits_of(state, &changes);
        if !edits.is_empty() {
            state.history.add(signature, edits.clone()).map_err(Refused::NotKept)?;
        }
        self.publish(state, files, changes, &edits).map_err(Refused::Invalid)?;
        Ok(edits)
    }

    /// Makes files what is in force; their revision is in the history.
    fn publish(
        &self,
        state: &mut State,
        files: &Arc<Files>,
        changes: Changes,
        edits: &Edits,
    ) -> Result<(), Diagnostics> {
        let model = Arc::clone(state.corpus.change(changes).map_err(Diagnostics)?);
        state.files = Arc::clone(files);
        let revision = state.history.newest();
        let last = self.latest();
        let documents = if edits.is_empty() {
            Arc::clone(&last.documents)
        } else {
            Arc::new(with(BTreeMap::clone(&last.documents), edits, revision))
        };
        self.accepted.send_replace(Arc::new(Accepted { revision, documents, model }));
        Ok(())
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

    fn write(&self, order: Order) -> Result<Applied, ApplyError> {
        let Order { wanted, submitted, signature, expected, dry_run } = order;
        let mut state = self.state();
        let scan = self.scan().map_err(|error| match error {
            LoadError::Unavailable { dir, source } => ApplyError::Unreadable { path: dir, source },
            LoadError::Invalid(diagnostics) => ApplyError::Invalid(diagnostics),
        })?;
        // What was edited by hand and is valid comes first, as a revision of its own.
        if !dry_run && let Outcome::NotKept(error) = self.accept_in(&mut state, &scan) {
            return Err(disk(error));
        }
        // Under the same lock as the write: nobody else's change falls between.
        if let Some(expected) = expected {
            self.expect(&state, &wanted, expected)?;
        }
        let composed = composition::compose(&self.dir, &scan.files, &wanted);
        let mut files = Files::clone(&scan.files);
        for (path, text) in &composed {
            match text {
                Some(text) => {
                    drop(files.insert(path.as_path().into(), Arc::new(Seen::new(path, text.as_bytes()))));
                }
                None => drop(files.remove(path.as_path())),
            }
        }
        if files.is_empty() {
            return Err(ApplyError::Invalid(Diagnostics(vec![directory::nothing_in(&self.dir)])));
        }
        let changes = changed(&state.files, &files);
        if let Err(errors) = state.corpus.check(&changes) {
            // The same errors, as far as they are in what was handed in, with the places that its author knows.
            let as_submitted = as_submitted(&state, &scan.files, &wanted, &submitted);
            let found = state.corpus.check_text(&as_submitted);
            let errors = if found.is_empty() { errors } else { found };
            return Err(ApplyError::Invalid(Diagnostics(errors)));
        }
        let edits = edits_of(&state, &changes);
        let described = history::changes(&edits);
        if composed.is_empty() || dry_run {
            return Ok(Applied { revision: state.history.newest(), changes: described, dry_run });
        }
        writable(&self.dir, composed.keys())?;
        let number = state.history.newest() + u64::from(!edits.is_empty());
        let journal =
            Journal::new(number, signature.clone(), composed).map_err(|error| refused(&self.dir, error))?;
        let prepared = journal.prepare(&self.dir).map_err(|error| refused(&self.dir, error))?;
        if !edits.is_empty()
            && let Err(error) = state.history.add(signature, edits.clone())
        {
            prepared.abandon();
            return Err(disk(error));
        }
        // From here on nobody may believe what was read before.
        state.writes += 1;
        if let Err(error) = prepared.finish() {
            if !edits.is_empty() {
                state.history.take_back();
            }
            return Err(refused(&self.dir, error));
        }
        self.publish(&mut state, &Arc::new(files), changes, &edits).map_err(ApplyError::Invalid)?;
        Ok(Applied { revision: state.history.newest(), changes: described, dry_run })
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

/// A change to write.
struct Order {
    wanted: Wanted,
    /// The texts that were handed in.
    submitted: Vec<Contents>,
    signature: Signature,
    /// See [`Change::expected`].
    expected: Option<u64>,
    dry_run: bool,
}

impl Store for DirectoryStore {
    fn latest(&self) -> Arc<Accepted> {
        Arc::clone(&self.accepted.borrow())
    }

    fn subscribe(&self) -> watch::Receiver<Arc<Accepted>> {
        self.accepted.subscribe()
    }

    fn apply(&self, change: Change) -> Result<Applied, ApplyError> {
        let Change { put, delete, author, message, expected, dry_run } = change;
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
            let changes = as_submitted(&state, &files, &wanted, &submitted);
            let errors = state.corpus.check_text(&changes);
            return Err(ApplyError::Invalid(Diagnostics(errors)));
        }
        let order = Order {
            wanted,
            submitted,
            signature: signature(&author, &message, Origin::Api),
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
        dry_run: bool,
    ) -> Result<Applied, ApplyError> {
        let wanted = self.back_to(to)?;
        let signature = signature(&author, &message, Origin::Rollback(to));
        self.write(Order { wanted, submitted: Vec::new(), signature, expected: None, dry_run })
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

    /// Whether none of the documents was changed after a revision.
    fn expect(&self, state: &State, wanted: &Wanted, expected: u64) -> Result<(), ApplyError> {
        let latest = self.latest();
        for key in wanted.keys() {
            let found = match latest.documents.get(key) {
                Some(stored) => (stored.revision > expected).then_some(stored.revision),
                // 0 is "there is none", whatever there was.
                None if expected == 0 => None,
                None => state.history.removed_since(key, expected),
            };
            if let Some(found) = found {
                return Err(ApplyError::Conflict { kind: key.0, name: key.1.clone(), expected, found });
            }
        }
        Ok(())
    }
}

fn signature(author: &str, message: &str, origin: Origin) -> Signature {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Signature { time, author: author.to_owned(), message: message.to_owned(), origin }
}

/// The files that differ.
fn changed(before: &Files, after: &Files) -> Changes {
    let mut changes = Changes::new();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    // Both are in the order of paths, so one pass tells: looking up ten thousand paths takes longer than reading a file.
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) if Arc::ptr_eq(one, other) => Ordering::Equal,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        match (was, is) {
            (Some((_, was)), Some((_, is))) if Arc::ptr_eq(was, is) || was.digest == is.digest => {}
            (_, Some((path, is))) => drop(changes.insert(path.to_path_buf(), Some(Arc::clone(&is.contents)))),
            (Some((path, _)), None) => drop(changes.insert(path.to_path_buf(), None)),
            (None, None) => {}
        }
    }
}

/// The texts of all documents.
fn texts(files: &Files) -> BTreeMap<Key, Arc<str>> {
    let documents = files.values().flat_map(|seen| &seen.contents.documents);
    documents.map(|document| ((document.kind, document.name.clone()), document.text().into())).collect()
}

fn edits(before: &BTreeMap<Key, Stored>, after: &BTreeMap<Key, Arc<str>>) -> Edits {
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    let gone =
        gone.map(|(key, stored)| (key.clone(), Edit { before: Some(Arc::clone(&stored.text)), after: None }));
    let new = after.iter().filter_map(|(key, text)| {
        let before = before.get(key).map(|stored| Arc::clone(&stored.text));
        (before.as_ref() != Some(text)).then(|| (key.clone(), Edit { before, after: Some(Arc::clone(text)) }))
    });
    gone.chain(new).collect()
}

/// What a change of files does to documents.
fn edits_of(state: &State, changes: &Changes) -> Edits {
    let mut edits = Edits::new();
    for path in changes.keys() {
        for document in state.files.get(path.as_path()).iter().flat_map(|seen| &seen.contents.documents) {
            let before = Some(document.text().into());
            edits.insert((document.kind, document.name.clone()), Edit { before, after: None });
        }
    }
    for document in changes.values().flatten().flat_map(|contents| &contents.documents) {
        let edit =
            edits.entry((document.kind, document.name.clone())).or_insert(Edit { before: None, after: None });
        edit.after = Some(document.text().into());
    }
    edits.retain(|_, edit| edit.before != edit.after);
    edits
}

fn with(mut documents: BTreeMap<Key, Stored>, edits: &Edits, revision: u64) -> BTreeMap<Key, Stored> {
    for (key, edit) in edits {
        match &edit.after {
            Some(text) => {
                let stored = Stored { text: Arc::clone(text), revision };
                drop(documents.insert(key.clone(), stored));
            }
            None => drop(documents.remove(key)),
        }
    }
    documents
}

/// The documents as they would be, with what was handed in as files of its own, so that errors name its places.
fn as_submitted(state: &State, files: &Files, wanted: &Wanted, submitted: &[Contents]) -> Changes {
    let mut changes = changed(&state.files, files);
    for (path, seen) in files {
        let is_wanted = |document: &Arc<crate::document::Document>| {
            wanted.contains_key(&(document.kind, document.name.clone()))
        };
        if seen.contents.documents.iter().any(is_wanted) {
            changes.insert(path.to_path_buf(), Some(Arc::new(seen.contents.without(is_wanted))));
        }
    }
    for (number, contents) in submitted.iter().enumerate() {
        // No file is called that.
        let path = PathBuf::from(format!("\0{number}"));
        changes.insert(path, Some(Arc::new(contents.without(|_| false))));
    }
    changes
}

/// Says so if a directory is not meant to be written.
fn writable<'p>(dir: &Path, paths: impl Iterator<Item = &'p PathBuf>) -> Result<(), ApplyError> {
    use std::os::unix::fs::PermissionsExt;
    let read_only = |reason: String| Err(ApplyError::ReadOnly { reason });
    if dir.join("..data").symlink_metadata().is_ok() {
        return read_only(format!("{} is a mounted ConfigMap or Secret", dir.display()));
    }
    let below = paths.filter_map(|path| path.parent());
    for place in std::iter::once(dir).chain(below) {
        // Not even root, who could, writes to what nobody is meant to write to.
        if place.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o222 == 0) {
            return read_only(format!("nobody may write to {}", place.display()));
        }
    }
    Ok(())
}

fn refused(dir: &Path, Failed { path, source }: Failed) -> ApplyError {
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            ApplyError::ReadOnly { reason: format!("{} cannot be written: {source}", dir.display()) }
        }
        _ => ApplyError::Disk { path, source },
    }
}

fn disk(error: LogError) -> ApplyError {
    match error {
        LogError::Io { path, source } => ApplyError::Disk { path, source },
        LogError::Malformed { ref path, .. } | LogError::InUse { ref path } => {
            ApplyError::Disk { path: path.clone(), source: io::Error::other(error.to_string()) }
        }
    }
}

#[cfg(test)]
mod tests;
