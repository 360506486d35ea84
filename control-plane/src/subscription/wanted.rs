//! What a subscription names, in the words of both variants.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::snapshot::{Name, Resource, ResourceSet};

/// The special name that means everything.
const EVERYTHING: &str = "*";

/// The resources that a client wants.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    everything: bool,
    /// A name was given once, so that an empty list no longer means everything.
    named: bool,
    names: BTreeSet<Name>,
}

/// How a request changed what is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shift {
    /// Named in this request, and to be answered.
    pub(super) asked: Vec<Name>,
    /// No longer named, but still wanted, because everything is.
    pub(super) covered: Vec<Name>,
    /// Everything is wanted from now on.
    pub(super) everything: bool,
    /// Something is no longer wanted.
    pub(super) less: bool,
}

impl Shift {
    /// Whether nothing is different, as in a mere acknowledgement.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Wanted {
    /// State of the world: wants exactly `names` from now on. `unnamed_is_everything`: as long as nothing was ever named.
    pub(super) fn replace(&mut self, names: Vec<String>, unnamed_is_everything: bool) -> Shift {
        let before = std::mem::take(self);
        self.named = before.named || !names.is_empty();
        self.names = names.into_iter().map(Name::from).collect();
        self.everything = self.names.remove(EVERYTHING) || (!self.named && unnamed_is_everything);
        let gone: Vec<_> = before.names.difference(&self.names).cloned().collect();
        Shift {
            asked: self.names.difference(&before.names).cloned().collect(),
            covered: Vec::new(),
            everything: self.everything && !before.everything,
            less: (before.everything || !gone.is_empty()) && !self.everything,
        }
    }

    /// Delta: wants `subscribe` too, and no longer `unsubscribe`.
    pub(super) fn change(&mut self, subscribe: Vec<String>, unsubscribe: Vec<String>) -> Shift {
        self.named |= !subscribe.is_empty();
        let before = self.everything;
        let mut gone = Vec::new();
        for name in unsubscribe {
            if name == EVERYTHING {
                self.everything = false;
            } else {
                gone.extend(self.names.take(name.as_str()));
            }
        }
        let mut asked = Vec::new();
        for name in subscribe {
            if name == EVERYTHING {
                self.everything = true;
            } else {
                let name = Name::from(name);
                self.names.insert(Arc::clone(&name));
                asked.push(name);
            }
        }
        let less = (before || !gone.is_empty()) && !self.everything;
        let covered = if self.everything { gone } else { Vec::new() };
        Shift { asked, covered, everything: self.everything && !before, less }
    }

    /// Delta: the first request named nothing, and that means everything.
    pub(super) fn everything_unnamed(&mut self) -> bool {
        self.everything |= !self.named;
        self.everything
    }

    /// Whether everything is wanted.
    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether `name` is wanted, by its name or with everything.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.everything || self.names.contains(name)
    }

    /// Whether a request that lists `names` says nothing new.
    pub(super) fn is_same(&self, names: &[String]) -> bool {
        names.len() == self.names.len() && names.iter().all(|name| self.names.contains(name.as_str()))
    }

    /// The names given.
    pub(super) fn names(&self) -> &BTreeSet<Name> {
        &self.names
    }

    /// Those resources of `set` that are wanted, in the order of names.
    pub(super) fn of<'a>(&'a self, set: &'a ResourceSet) -> Box<dyn Iterator<Item = &'a Arc<Resource>> + 'a> {
        if self.everything {
            Box::new(set.iter())
        } else {
            Box::new(self.names.iter().filter_map(|name| set.get(name)))
        }
    }
}
