//! A change that somebody asks for, from what it means for files to their being in force.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::edits;
use super::{DirectoryStore, Outcome, State};
use crate::document::Contents;
use crate::model::corpus::Changes;
use crate::store::change::{Applied, ApplyError};
use crate::store::composition::{self, Wanted};
use crate::store::directory::{self, Files, Scan, Seen};
use crate::store::history::{self, Edits, History, LogError, Signature};
use crate::store::journal::{Failed, Journal};
use crate::store::{Diagnostics, LoadError, Store as _};
use crate::telemetry::Parent;

/// A change to write.
pub(super) struct Order {
    pub(super) wanted: Wanted,
    /// The texts that were handed in.
    pub(super) submitted: Vec<Contents>,
    pub(super) signature: Signature,
    /// What it is part of.
    pub(super) cause: Parent,
    /// See [`Change::expected`](crate::store::Change::expected).
    pub(super) expected: Option<u64>,
    pub(super) dry_run: bool,
}

impl DirectoryStore {
    /// Writes a change and takes it into force.
    pub(super) fn write(&self, order: Order) -> Result<Applied, ApplyError> {
        let Order { wanted, submitted, signature, cause, expected, dry_run } = order;
        let mut state = self.state();
        let state = &mut *state;
        let scan = self.scan().map_err(|error| match error {
            LoadError::Unavailable { dir, source } => ApplyError::Unreadable { path: dir, source },
            LoadError::Invalid(diagnostics) => ApplyError::Invalid(diagnostics),
        })?;
        // What was edited by hand and is valid comes first, as a revision of its own.
        if !dry_run {
            match self.accept_in(state, &scan, Duration::ZERO) {
                Outcome::NotKept(error) => return Err(disk(error)),
                // As with a write, nobody may believe what was read before.
                Outcome::Accepted(_) => state.writes += 1,
                _ => {}
            }
            self.found(state, scan.clone());
        }
        // Under the same lock as the write: nobody else's change falls between.
        if let Some(expected) = expected {
            self.expect(state, &wanted, expected)?;
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
        let changes = edits::changed(&state.files, &files);
        let edits = edits::of(&state.files, &changes);
        let described = history::changes(&edits);
        let outcome = match state.corpus.begin(changes) {
            Ok(_) if composed.is_empty() || dry_run => {
                return Ok(Applied { revision: state.history.newest(), changes: described, dry_run });
            }
            Ok(pending) => {
                put(&self.dir, &mut state.history, &mut state.writes, composed, signature, &edits)?;
                Ok(pending.keep())
            }
            Err(errors) => Err(errors),
        };
        match outcome {
            Ok(model) => {
                let files = Arc::new(files);
                self.publish(state, &files, model, &edits, cause);
                self.found(state, Scan { files, ..scan });
                Ok(Applied { revision: state.history.newest(), changes: described, dry_run })
            }
            Err(errors) => {
                // The same errors, as far as they are in what was handed in, with the places that its author knows.
                let as_submitted = as_submitted(state, &scan.files, &wanted, &submitted);
                let found = state.corpus.check_text(&as_submitted);
                Err(ApplyError::Invalid(Diagnostics(if found.is_empty() { errors } else { found })))
            }
        }
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

/// Makes files what they are to be, and enters that into the history: both or neither.
fn put(
    dir: &Path,
    history: &mut History,
    writes: &mut u64,
    composed: BTreeMap<PathBuf, Option<String>>,
    signature: Signature,
    edits: &Edits,
) -> Result<(), ApplyError> {
    writable(dir, composed.keys())?;
    let number = history.newest() + u64::from(!edits.is_empty());
    let journal = Journal::new(number, signature.clone(), composed).map_err(|error| refused(dir, error))?;
    let prepared = journal.prepare(dir).map_err(|error| refused(dir, error))?;
    if !edits.is_empty()
        && let Err(error) = history.add(signature, edits.clone())
    {
        prepared.abandon();
        return Err(disk(error));
    }
    // From here on nobody may believe what was read before.
    *writes += 1;
    prepared.finish().map_err(|error| {
        if !edits.is_empty() {
            history.take_back();
        }
        refused(dir, error)
    })
}

/// The documents as they would be, with what was handed in as files of its own, so that errors name its places.
pub(super) fn as_submitted(state: &State, files: &Files, wanted: &Wanted, submitted: &[Contents]) -> Changes {
    let mut changes = edits::changed(&state.files, files);
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
