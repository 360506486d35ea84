//! The clusters that a proxy of a fleet may still have, from earlier snapshots.
//!
//! Who asks for the state of the world says which version of the clusters it has, and not which clusters those are. A version is a hash of
//! them, so it can be looked up, and what the proxy's old routes still use stays until it has new ones.

use std::sync::{Arc, OnceLock};

use super::ResourceSet;

/// How many earlier sets are remembered for each fleet.
const MAX: usize = 5;

/// Sets, the newest first.
#[derive(Debug, Default)]
pub(super) struct Given {
    sets: Vec<Arc<ResourceSet>>,
    /// What proxies have while they change from some of them to newer ones. Rarely asked for.
    mixtures: OnceLock<Vec<Arc<ResourceSet>>>,
}

impl Given {
    /// The set of this version, if it is one of them or a mixture of them.
    pub(super) fn find(&self, version: &str) -> Option<Arc<ResourceSet>> {
        let is_it = |set: &&Arc<ResourceSet>| **set.version() == *version;
        let found = self.sets.iter().find(is_it);
        found.or_else(|| self.mixtures.get_or_init(|| mixtures(&self.sets)).iter().find(is_it)).cloned()
    }
}

/// Every mixture of two or more of these: of resources with one name, the newest counts.
fn mixtures(sets: &[Arc<ResourceSet>]) -> Vec<Arc<ResourceSet>> {
    let Some((newest, older)) = sets.split_first() else { return Vec::new() };
    let mut all = mixtures(older);
    let with_newest = older.iter().chain(&all).map(|older| Arc::new(older.replaced_by(newest)));
    all.append(&mut with_newest.collect());
    all
}

/// The sets of clusters that a fleet was given, one after another.
#[derive(Debug, Default)]
pub struct History {
    given: Arc<Given>,
    /// For each set, the revision of the documents that it was given for last.
    revisions: Vec<u64>,
}

impl History {
    /// What its proxies may have.
    pub(super) fn given(&self) -> &Arc<Given> {
        &self.given
    }

    /// The revisions of documents that make these sets, that of the newest first.
    pub fn revisions(&self) -> &[u64] {
        &self.revisions
    }

    /// The fleet, or some of its proxies, are given this, which is made of the documents of a revision.
    pub fn give(&mut self, revision: u64, set: &Arc<ResourceSet>) {
        let known = self.revisions.iter().copied().zip(&self.given.sets);
        let others = known.filter(|(_, known)| known.version() != set.version());
        let all = [(revision, set)].into_iter().chain(others).take(MAX);
        let (revisions, sets): (Vec<_>, Vec<_>) =
            all.map(|(revision, set)| (revision, Arc::clone(set))).unzip();
        if self.given.sets != sets {
            self.given = Arc::new(Given { sets, mixtures: OnceLock::new() });
        }
        self.revisions = revisions;
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::google::protobuf::StringValue;

    use super::*;
    use crate::snapshot::Resource;

    fn set(contents: &[(&str, &str)]) -> Arc<ResourceSet> {
        let resource = |(name, value): &(&str, &str)| {
            Arc::new(Resource::new(name, &StringValue { value: (*value).to_owned() }))
        };
        Arc::new(ResourceSet::new(contents.iter().map(resource)))
    }

    #[test]
    fn what_was_given_lately_is_known_by_its_version_and_so_is_what_lies_between() {
        let mut history = History::default();
        let sets = [set(&[("a", "1")]), set(&[("b", "1")]), set(&[("b", "2"), ("c", "1")])];
        for (revision, one) in (1..).zip(&sets) {
            history.give(revision, one);
        }
        assert_eq!(history.revisions(), [3, 2, 1]);
        history.give(4, &sets[2]);
        assert_eq!(history.revisions(), [4, 2, 1], "the same clusters of newer documents");
        for one in &sets {
            assert_eq!(history.given().find(one.version()).as_ref(), Some(one));
        }
        let between = set(&[("a", "1"), ("b", "1")]);
        assert_eq!(history.given().find(between.version()), Some(between));
        let all = set(&[("a", "1"), ("b", "2"), ("c", "1")]);
        assert_eq!(history.given().find(all.version()), Some(all));
        assert_eq!(history.given().find(set(&[("a", "1"), ("b", "1"), ("c", "1")]).version()), None);

        for (revision, number) in (5..).zip(0..MAX) {
            history.give(revision, &set(&[("x", &number.to_string())]));
        }
        assert_eq!(history.given().find(sets[2].version()), None, "too long ago");
    }
}
