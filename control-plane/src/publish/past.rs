//! What fleets had before this process: kept over a restart, so that a fleet stays on what its proxies have accepted, and so that it is known what
//! those hold that connect again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::state::{StateError, StateFile};

const FILE: &str = "in-use.json";

/// How many revisions are kept before the one in use: a process that is killed right after a push leaves proxies that have not taken it yet.
/// Not more, because all of them have to be read before anything is served.
const BEFORE: usize = 2;

/// The revisions that each fleet has and had in use, and the documents of those that the last process left behind.
#[derive(Debug, Default)]
pub struct Past {
    fleets: BTreeMap<String, Held>,
    models: BTreeMap<u64, Arc<Model>>,
    file: Option<StateFile>,
}

/// What the proxies of a fleet may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Stored")]
pub(super) struct Held {
    /// The revision of the documents in use.
    pub(super) in_use: u64,
    /// Others whose clusters some proxies may still have, the newest first.
    before: Vec<u64>,
}

/// As it is read: earlier versions have kept the revision in use alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Alone(u64),
    #[serde(rename_all = "camelCase")]
    Held {
        in_use: u64,
        before: Vec<u64>,
    },
}

impl From<Stored> for Held {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Alone(in_use) => Self { in_use, before: Vec::new() },
            Stored::Held { in_use, before } => Self { in_use, before },
        }
    }
}

impl Held {
    /// `others` are the revisions that proxies may also have, the newest first.
    pub(super) fn new(in_use: u64, others: impl IntoIterator<Item = u64>) -> Self {
        let before = others.into_iter().filter(|other| *other != in_use).take(BEFORE);
        Self { in_use, before: before.collect() }
    }

    fn all(&self) -> impl Iterator<Item = u64> {
        self.before.iter().copied().chain([self.in_use])
    }

    /// Whether a revision is one of those before.
    pub(super) fn had(&self, revision: u64) -> bool {
        self.before.contains(&revision)
    }
}

impl Past {
    /// Reads what is kept in `directory`. `model` gives the documents of a revision, if the history still has them.
    pub fn kept_in(directory: &Path, model: impl Fn(u64) -> Option<Arc<Model>>) -> Result<Self, StateError> {
        let (file, fleets) = StateFile::open::<BTreeMap<String, Held>>(directory, FILE)?;
        let revisions: BTreeSet<u64> = fleets.values().flat_map(Held::all).collect();
        let models =
            revisions.into_iter().filter_map(|revision| Some((revision, model(revision)?))).collect();
        Ok(Self { fleets, models, file: Some(file) })
    }

    /// What each fleet may have had when the last process ended, and the documents of those revisions, the oldest first. Only asked once: what
    /// comes later this process knows itself.
    pub(super) fn take(&mut self) -> (BTreeMap<String, Held>, BTreeMap<u64, Arc<Model>>) {
        (self.fleets.clone(), std::mem::take(&mut self.models))
    }

    /// From now on fleets may have these.
    pub(super) fn keep(&mut self, fleets: BTreeMap<String, Held>) -> Result<(), StateError> {
        if fleets == self.fleets {
            return Ok(());
        }
        self.fleets = fleets;
        self.file.as_ref().map_or(Ok(()), |file| file.write(&self.fleets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_in_use_and_before_are_there_after_a_restart_as_far_as_they_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let model = |revision| (revision != 3).then(Arc::default);
        let mut past = Past::kept_in(directory.path(), model).unwrap();
        assert!(past.take().1.is_empty());
        let fleets = [
            ("a", Held::new(8, [])),
            // The one in use does not count as one before it; one that is tried is newer.
            ("b", Held::new(7, [9, 7, 6, 5])),
            ("c", Held::new(3, [])),
        ];
        let fleets: BTreeMap<_, _> = fleets.map(|(fleet, held)| (fleet.to_owned(), held)).into();
        past.keep(fleets.clone()).unwrap();

        let mut past = Past::kept_in(directory.path(), model).unwrap();
        let (kept, models) = past.take();
        assert_eq!(kept, fleets);
        assert_eq!(models.into_keys().collect::<Vec<_>>(), [6, 7, 8, 9]);
        assert!(past.take().1.is_empty(), "once");
    }

    #[test]
    fn what_an_earlier_version_has_kept_is_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), r#"{"edge": 7}"#).unwrap();
        let mut past = Past::kept_in(directory.path(), |_| Some(Arc::default())).unwrap();
        let (kept, models) = past.take();
        assert_eq!(kept, BTreeMap::from([("edge".to_owned(), Held::new(7, []))]));
        assert_eq!(models.into_keys().collect::<Vec<_>>(), [7]);
    }
}
