//! The revisions of filter configurations: numbers that only grow.
//!
//! The filter's workers take over a new configuration one after another and share the limits' state, so each needs to know which of two
//! configurations is the newer one. A version does not say that; a number does, and it must still grow when this process is replaced. So a
//! revision is the wall-clock time in milliseconds of the change that made it, or one more than the last revision where the clock has not moved
//! on. With a state directory, a restart on unchanged documents keeps the numbers too, and proxies have nothing to fetch.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hexadecimal;
use crate::state::{StateError, StateFile};

const FILE: &str = "revisions.json";

/// The revision of every Gateway's filter configuration.
#[derive(Debug, Default)]
pub struct Revisions {
    entries: BTreeMap<String, Entry>,
    file: Option<StateFile>,
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

impl Revisions {
    /// Reads the revisions kept in `directory`, which is made if it is missing.
    pub fn kept_in(directory: &Path) -> Result<Self, StateError> {
        let (file, entries) = StateFile::open(directory, FILE)?;
        Ok(Self { entries, file: Some(file), saved: true })
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

    /// Writes what has changed to the state directory, if there is one.
    pub fn save(&mut self) -> Result<(), StateError> {
        let Some(file) = self.file.as_ref().filter(|_| !self.saved) else { return Ok(()) };
        file.write(&self.entries)?;
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
}
