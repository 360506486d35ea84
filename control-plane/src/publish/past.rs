//! What fleets had before this process: kept over a restart, so that a fleet stays on what its proxies have accepted, and so that it is known what
//! those hold that connect again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::model::Model;
use crate::state::{StateError, StateFile};

const FILE: &str = "in-use.json";

/// The revision that each fleet has in use, and the documents of those that the last process left behind.
#[derive(Debug, Default)]
pub struct Past {
    in_use: BTreeMap<String, u64>,
    models: BTreeMap<u64, Arc<Model>>,
    file: Option<StateFile>,
}

impl Past {
    /// Reads what is kept in `directory`. `model` gives the documents of a revision, if the history still has them.
    pub fn kept_in(directory: &Path, model: impl Fn(u64) -> Option<Arc<Model>>) -> Result<Self, StateError> {
        let (file, in_use) = StateFile::open::<BTreeMap<String, u64>>(directory, FILE)?;
        let revisions: BTreeSet<u64> = in_use.values().copied().collect();
        let models =
            revisions.into_iter().filter_map(|revision| Some((revision, model(revision)?))).collect();
        Ok(Self { in_use, models, file: Some(file) })
    }

    /// The documents that were in use when the last process ended, the oldest first, each with the fleets that used them. Only asked once: what
    /// comes later this process knows itself.
    pub(super) fn take(&mut self) -> Vec<(u64, Arc<Model>, BTreeSet<String>)> {
        let fleets_of = |revision| {
            let fleets = self.in_use.iter().filter(|(_, in_use)| **in_use == revision);
            fleets.map(|(fleet, _)| fleet.clone()).collect()
        };
        let models = std::mem::take(&mut self.models);
        models.into_iter().map(|(revision, model)| (revision, model, fleets_of(revision))).collect()
    }

    /// From now on these are in use.
    pub(super) fn keep(&mut self, in_use: BTreeMap<String, u64>) -> Result<(), StateError> {
        if in_use == self.in_use {
            return Ok(());
        }
        self.in_use = in_use;
        self.file.as_ref().map_or(Ok(()), |file| file.write(&self.in_use))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_in_use_are_there_after_a_restart_as_far_as_they_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let model = |revision| (revision != 3).then(Arc::default);
        let mut past = Past::kept_in(directory.path(), model).unwrap();
        assert!(past.take().is_empty());
        let in_use = [("a", 5), ("b", 4), ("c", 5), ("d", 3)];
        past.keep(in_use.map(|(fleet, revision)| (fleet.to_owned(), revision)).into()).unwrap();

        let mut past = Past::kept_in(directory.path(), model).unwrap();
        let taken: Vec<_> = past.take().into_iter().map(|(revision, _, fleets)| (revision, fleets)).collect();
        let fleets = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(taken, [(4, fleets(&["b"])), (5, fleets(&["a", "c"]))]);
        assert!(past.take().is_empty(), "once");
    }
}
