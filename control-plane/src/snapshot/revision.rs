//! The revisions of filter configurations: numbers that only grow.
//!
//! The filter's workers take over a new configuration one after another and share the limits' state, so each needs to know which of two
//! configurations is the newer one. A version does not say that; a number does, and it must still grow when this process is replaced. So a
//! revision is the wall-clock time in milliseconds of the change that made it, or one more than the last revision where the clock has not moved
//! on. With a state directory, a restart on unchanged documents keeps the numbers too, and proxies have nothing to fetch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hexadecimal;

const FILE: &str = "revisions.json";

/// The revision of every Gateway's filter configuration.
#[derive(Debug, Default)]
pub struct Revisions {
    entries: BTreeMap<String, Entry>,
    file: Option<PathBuf>,
    saved: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    content: String,
    revision: u64,
    /// The largest that was ever given out; larger than `revision` if older content had to be given a new one.
    #[serde(default)]
    highest: u64,
}

/// The state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RevisionsError {
    /// It could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Something else has written to it.
    #[error("{}: not what spillway writes there", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Revisions {
    /// Reads the revisions kept in `directory`, which is made if it is missing.
    pub fn kept_in(directory: &Path) -> Result<Self, RevisionsError> {
        let path = directory.join(FILE);
        let io = |source| RevisionsError::Io { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(io)?;
        let entries = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| RevisionsError::Malformed { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(io(error)),
        };
        // Written once at the start: a directory that can't be written is found out now, not at the first edit.
        let mut revisions = Self { entries, file: Some(path), saved: false };
        revisions.save()?;
        Ok(revisions)
    }

    /// The revision of a Gateway's configuration, a new one if its content has changed. `now` is wall-clock time in milliseconds.
    pub(super) fn of(&mut self, gateway: &str, content: &[&str], now: u64) -> u64 {
        let mut hash = Sha256::new();
        for part in content {
            hash.update(part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        let content = hexadecimal(&hash.finalize());
        match self.entries.get_mut(gateway) {
            Some(entry) if entry.content == content => entry.revision,
            Some(entry) => {
                let revision = entry.next(now);
                *entry = Entry { content, revision, highest: revision };
                self.saved = false;
                entry.revision
            }
            None => {
                self.entries.insert(gateway.to_owned(), Entry { content, revision: now, highest: now });
                self.saved = false;
                now
            }
        }
    }

    /// A new revision for earlier content that is to replace the newest. The newest keeps its own.
    pub(super) fn renewed(&mut self, gateway: &str, now: u64) -> u64 {
        let Some(entry) = self.entries.get_mut(gateway) else { return now };
        entry.highest = entry.next(now);
        self.saved = false;
        entry.highest
    }

    /// Writes what has changed to the state directory, if there is one: whole or not at all.
    pub fn save(&mut self) -> Result<(), RevisionsError> {
        let Some(path) = self.file.as_ref().filter(|_| !self.saved) else { return Ok(()) };
        let io = |source| RevisionsError::Io { path: path.clone(), source };
        let text = serde_json::to_vec_pretty(&self.entries)
            .map_err(|source| RevisionsError::Malformed { path: path.clone(), source })?;
        let draft = path.with_extension("json.new");
        let mut file = fs::File::create(&draft).map_err(io)?;
        io::Write::write_all(&mut file, &text).map_err(io)?;
        file.sync_all().map_err(io)?;
        fs::rename(&draft, path).map_err(io)?;
        self.saved = true;
        Ok(())
    }
}

impl Entry {
    fn next(&self, now: u64) -> u64 {
        now.max(self.revision.max(self.highest).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_grows_with_every_change_and_only_then() {
        let mut revisions = Revisions::default();
        assert_eq!(revisions.of("edge", &["a"], 1_000), 1_000);
        assert_eq!(revisions.of("edge", &["a"], 2_000), 1_000);
        assert_eq!(revisions.of("edge", &["b"], 2_000), 2_000);
        // Back to what it was before: a change all the same, even if the clock stands still or jumps back.
        assert_eq!(revisions.of("edge", &["a"], 2_000), 2_001);
        assert_eq!(revisions.of("edge", &["b"], 500), 2_002);
        assert_eq!(revisions.of("other", &["b"], 500), 500);
    }

    #[test]
    fn earlier_content_that_replaces_the_newest_is_newer_and_leaves_the_newest_its_revision() {
        let mut revisions = Revisions::default();
        assert_eq!(revisions.of("edge", &["a"], 1_000), 1_000);
        assert_eq!(revisions.of("edge", &["b"], 2_000), 2_000);
        assert_eq!(revisions.renewed("edge", 2_000), 2_001);
        assert_eq!(revisions.of("edge", &["b"], 3_000), 2_000);
        assert_eq!(revisions.of("edge", &["c"], 500), 2_002);
    }

    #[test]
    fn where_one_part_ends_and_the_next_begins_is_content() {
        let mut revisions = Revisions::default();
        assert_eq!(revisions.of("edge", &["ab", "c"], 1), 1);
        assert_eq!(revisions.of("edge", &["a", "bc"], 2), 2);
    }

    #[test]
    fn a_restart_keeps_the_revisions_of_unchanged_content() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let mut revisions = Revisions::kept_in(&state).unwrap();
        revisions.of("edge", &["a"], 1_000);
        revisions.save().unwrap();

        let mut revisions = Revisions::kept_in(&state).unwrap();
        assert_eq!(revisions.of("edge", &["a"], 9_000), 1_000);
        // The clock of the machine it was restarted on is behind.
        assert_eq!(revisions.of("edge", &["b"], 10), 1_001);
    }

    #[test]
    fn a_state_directory_that_is_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "not JSON").unwrap();
        let error = Revisions::kept_in(directory.path()).unwrap_err().to_string();
        assert!(error.contains("revisions.json: not what spillway writes there"), "{error}");

        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Revisions::kept_in(&file).unwrap_err();
        assert!(matches!(error, RevisionsError::Io { .. }), "{error}");
    }
}
