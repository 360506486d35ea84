//! What the check of each document looked at beside it, and so what has to be checked again when something changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::document::kind::Kind;

/// What a check looked at beside the document that it was about. Where that changes, it has to be done again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Dependency {
    /// One document, or that there is none.
    One(Kind, Box<str>),
    /// Every document of a kind.
    All(Kind),
}

type Dependent = (Kind, Arc<str>);

/// The dependencies of all documents, both ways: among ten thousand documents those that depend on a changed one are few.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    of: BTreeMap<Dependent, Vec<Dependency>>,
    on: HashMap<Dependency, BTreeSet<Dependent>>,
}

impl Dependencies {
    /// From now on a document depends on these, without duplicates. The answer is on what it did before.
    pub(super) fn set(&mut self, kind: Kind, name: &str, found: Vec<Dependency>) -> Vec<Dependency> {
        let key: Dependent = (kind, name.into());
        let before = self.of.remove(&key).unwrap_or_default();
        if before != found {
            for one in &before {
                if let Some(dependents) = self.on.get_mut(one) {
                    dependents.remove(&key);
                    if dependents.is_empty() {
                        self.on.remove(one);
                    }
                }
            }
            for one in &found {
                self.on.entry(one.clone()).or_default().insert(key.clone());
            }
        }
        if !found.is_empty() {
            self.of.insert(key, found);
        }
        before
    }

    /// The documents that depend on something, by kind and name.
    pub(super) fn on(&self, dependency: &Dependency) -> impl Iterator<Item = &Dependent> + use<'_> {
        self.on.get(dependency).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_something_is_found_until_it_does_not_any_more() {
        let one = |name: &str| Dependency::One(Kind::Backend, name.into());
        let mut dependencies = Dependencies::default();
        let on = |dependencies: &Dependencies, one: &Dependency| {
            dependencies.on(one).map(|(_, name)| name.to_string()).collect::<Vec<_>>()
        };
        let all = Dependency::All(Kind::Gateway);
        assert_eq!(dependencies.set(Kind::Route, "r", vec![one("a"), all.clone()]), []);
        dependencies.set(Kind::Route, "s", vec![one("a"), one("b")]);
        assert_eq!(on(&dependencies, &one("a")), ["r", "s"]);
        assert_eq!(on(&dependencies, &all), ["r"]);
        assert_eq!(dependencies.set(Kind::Route, "r", vec![one("b")]), [one("a"), all.clone()]);
        assert_eq!(on(&dependencies, &one("a")), ["s"]);
        assert_eq!(on(&dependencies, &one("b")), ["r", "s"]);
        for name in ["r", "s"] {
            dependencies.set(Kind::Route, name, Vec::new());
        }
        assert!(dependencies.of.is_empty() && dependencies.on.is_empty(), "nothing is left behind");
    }
}
