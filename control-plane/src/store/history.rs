//! The history of a store's documents: every accepted change, in memory and, with a state directory, in a file.
//!
//! The file is a log of lines, each with a checksum. The first says what the documents were before the oldest change that is kept; each
//! other line is one change, appended and synced before the change takes effect. A line that was cut short by a crash can only be the
//! last one, and was never acknowledged: it is dropped. When there are twice as many changes as are kept the file is written anew.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::accepted::{Key, Stored};
use super::difference::{self, Action, DocumentChange};
use super::revision::{KEEP, Kept, Origin, Revision};

mod log;

use self::log::Log;
pub use self::log::LogError;
pub(super) use self::log::sync_directory;

/// How much text the changes that are kept may have together.
const MAX_BYTES: usize = 64 << 20;

/// Who made a change, why and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signature {
    /// Milliseconds since 1970.
    pub(super) time: u64,
    pub(super) author: String,
    pub(super) message: String,
    pub(super) origin: Origin,
}

/// Texts before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) before: Option<Arc<str>>,
    pub(super) after: Option<Arc<str>>,
}

pub(super) type Edits = BTreeMap<Key, Edit>;

#[derive(Debug)]
struct Record {
    number: u64,
    signature: Signature,
    edits: Edits,
}

#[derive(Debug)]
pub(super) struct History {
    /// The documents before the oldest record, and the revision that they were.
    base: BTreeMap<Key, Arc<str>>,
    base_revision: u64,
    records: VecDeque<Record>,
    /// The texts of all records together.
    bytes: usize,
    keep: usize,
    log: Option<Log>,
}

impl History {
    pub(super) fn in_memory() -> Self {
        Self {
            base: BTreeMap::new(),
            base_revision: 0,
            records: VecDeque::new(),
            bytes: 0,
            keep: KEEP,
            log: None,
        }
    }

    /// The history kept in a directory, which is made if it is missing.
    pub(super) fn kept_in(directory: &Path) -> Result<Self, LogError> {
        let (log, content) = Log::open(directory)?;
        let mut history = Self { base_revision: content.revision, log: Some(log), ..Self::in_memory() };
        history.base =
            content.documents.into_iter().map(|(kind, name, text)| ((kind, name), text.into())).collect();
        let mut current = history.base.clone();
        for entry in content.entries {
            let edits = entry.documents.into_iter().map(|(kind, name, after)| {
                let key = (kind, name);
                let after = after.map(Arc::<str>::from);
                let before = match &after {
                    Some(after) => current.insert(key.clone(), Arc::clone(after)),
                    None => current.remove(&key),
                };
                (key, Edit { before, after })
            });
            let edits = edits.collect();
            history.push(Record { number: entry.number, signature: entry.signature, edits });
        }
        Ok(history)
    }

    #[cfg(test)]
    pub(super) fn keeping(mut self, keep: usize) -> Self {
        self.keep = keep;
        self
    }

    pub(super) fn newest(&self) -> u64 {
        self.records.back().map_or(self.base_revision, |record| record.number)
    }

    /// When the newest revision was made, in milliseconds since 1970.
    pub(super) fn newest_time(&self) -> u64 {
        self.records.back().map_or(0, |record| record.signature.time)
    }

    /// The documents of the newest revision.
    pub(super) fn documents(&self) -> BTreeMap<Key, Stored> {
        let base = self.base.iter().map(|(key, text)| {
            (key.clone(), Stored { text: Arc::clone(text), revision: self.base_revision })
        });
        let mut documents: BTreeMap<_, _> = base.collect();
        for Record { number, edits, .. } in &self.records {
            for (key, edit) in edits {
                match &edit.after {
                    Some(text) => {
                        let stored = Stored { text: Arc::clone(text), revision: *number };
                        drop(documents.insert(key.clone(), stored));
                    }
                    None => drop(documents.remove(key)),
                }
            }
        }
        documents
    }

    /// Adds a revision, on disk first. If that fails there is none.
    pub(super) fn add(&mut self, signature: Signature, edits: Edits) -> Result<u64, LogError> {
        let number = self.newest() + 1;
        // The clock may have been set back; a reader who sorts by time should still see the order in which things happened.
        let last = self.records.back().map_or(0, |record| record.signature.time);
        let signature = Signature { time: signature.time.max(last), ..signature };
        let record = Record { number, signature, edits };
        if let Some(log) = &mut self.log {
            log.append(&record)?;
        }
        self.push(record);
        if self.records.len() >= 2 * self.keep || self.bytes > MAX_BYTES {
            self.compact();
        }
        Ok(number)
    }

    /// Takes the newest revision back, which never took effect.
    pub(super) fn take_back(&mut self) {
        if let Some(record) = self.records.pop_back() {
            self.bytes = self.bytes.saturating_sub(size(&record.edits));
            if let Some(log) = &mut self.log {
                log.take_back();
            }
        }
    }

    fn push(&mut self, record: Record) {
        self.bytes += size(&record.edits);
        self.records.push_back(record);
    }

    fn compact(&mut self) {
        while self.records.len() > self.keep || (self.bytes > MAX_BYTES / 2 && self.records.len() > 1) {
            let Some(record) = self.records.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(size(&record.edits));
            self.base_revision = record.number;
            for (key, edit) in record.edits {
                match edit.after {
                    Some(text) => drop(self.base.insert(key, text)),
                    None => drop(self.base.remove(&key)),
                }
            }
        }
        if let Some(log) = &mut self.log {
            // The old file has everything and more: that it could not be shortened now loses nothing.
            if let Err(error) = log.rewrite(self.base_revision, &self.base, &self.records) {
                tracing::warn!(%error, "the history could not be shortened");
            }
        }
    }

    /// What the documents that changed since were in a revision; `None` if it is not kept.
    pub(super) fn back_to(&self, revision: u64) -> Option<BTreeMap<Key, Option<Arc<str>>>> {
        if revision < self.base_revision || revision == 0 || revision > self.newest() {
            return None;
        }
        let mut back = BTreeMap::new();
        for record in self.records.iter().rev().take_while(|record| record.number > revision) {
            for (key, edit) in &record.edits {
                back.insert(key.clone(), edit.before.clone());
            }
        }
        Some(back)
    }

    /// The revision after `since` that removed a document which is not there now.
    pub(super) fn removed_since(&self, key: &Key, since: u64) -> Option<u64> {
        let mut records = self.records.iter().rev().take_while(|record| record.number > since);
        records.find(|record| record.edits.contains_key(key)).map(|record| record.number)
    }

    pub(super) fn revisions(&self, numbers: &RangeInclusive<u64>) -> Vec<Revision> {
        let records = self.records.iter().rev().filter(|record| numbers.contains(&record.number));
        let revision = |record: &Record| {
            let Signature { time, author, message, origin } = record.signature.clone();
            Revision { number: record.number, time, author, message, origin, changes: changes(&record.edits) }
        };
        records.map(revision).collect()
    }

    pub(super) fn kept(&self) -> Kept {
        Kept {
            oldest: self.records.front().map_or(self.base_revision, |record| record.number),
            newest: self.newest(),
            file: self.log.as_ref().map(|log| log.path().display().to_string()),
        }
    }
}

fn size(edits: &Edits) -> usize {
    let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    edits.values().map(|edit| length(&edit.after)).sum()
}

/// Field by field.
pub(super) fn changes(edits: &Edits) -> Vec<DocumentChange> {
    let change = |((kind, name), edit): (&Key, &Edit)| {
        let value = |text: &Option<Arc<str>>| text.as_ref().and_then(|text| crate::document::json(text));
        let (action, fields) = match (&edit.before, &edit.after) {
            (None, _) => (Action::Added, Vec::new()),
            (Some(_), None) => (Action::Removed, Vec::new()),
            (Some(_), Some(_)) => {
                let (before, after) = (value(&edit.before), value(&edit.after));
                (Action::Changed, difference::fields(&before.unwrap_or_default(), &after.unwrap_or_default()))
            }
        };
        DocumentChange { kind: *kind, name: name.clone(), action, fields }
    };
    edits.iter().map(change).collect()
}

#[cfg(test)]
mod tests;
