//! What is due: the difference between what a client has and what it wants of the newest snapshot, as a response.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::held::Held;
use super::{Claim, Delivery, Draft, Subscription, Variant};
use crate::resource::Kind;
use crate::snapshot::{Name, Resource, ResourceSet, Version, version_of};

impl Subscription {
    /// Additions and changes that are due. With `open` false only what was asked for, as other kinds have to settle first.
    pub fn updates(&mut self, set: &Arc<ResourceSet>, open: bool) -> Option<Draft> {
        if self.in_flight.is_full() {
            return None;
        }
        self.settle_claim(set);
        if !open && self.variant == Variant::StateOfTheWorld && self.resumed && self.in_flight.is_first() {
            // It names again what it works with, and waits for nothing: that is a push like any other.
            return None;
        }
        let push = open && self.in_flight.is_empty();
        if !self.owed && self.demanded.is_empty() && (!push || self.agrees(set)) {
            return None;
        }
        let everything = push || self.owed;
        let mut send = Vec::new();
        for resource in self.wanted.of(set) {
            let has = self.held.get(resource.name()).is_some_and(|held| held.is(resource));
            if (everything && !has) || self.demanded.contains(resource.name()) {
                send.push(Arc::clone(resource));
            }
        }
        let mut removed = Vec::new();
        for name in self.wanted.names() {
            // What the client still has is removed in its turn, by `removals`.
            let known = self.held.get(name);
            let unanswered =
                known.is_none() || (self.demanded.contains(name) && known.is_some_and(Held::is_absent));
            if unanswered && set.get(name).is_none() {
                removed.push(Arc::clone(name));
            }
        }
        for name in &self.demanded {
            // Under a wildcard, a name that was unsubscribed and does not exist.
            if !self.wanted.names().contains(name) && !self.held.contains_key(name) && set.get(name).is_none()
            {
                removed.push(Arc::clone(name));
            }
        }
        let due = self.owed || !send.is_empty() || !removed.is_empty();
        self.demanded.clear();
        due.then(|| self.draft(set, send, removed, true)).flatten()
    }

    /// Removals that are due.
    pub fn removals(&mut self, set: &Arc<ResourceSet>) -> Option<Draft> {
        if !self.in_flight.is_empty() || self.agrees(set) {
            return None;
        }
        if self.kind == Kind::ExtensionConfig {
            // Whoever subscribes to one still uses it, if only on the connections of a listener that is being drained, and would answer
            // every request with 500 without it. Envoy unsubscribes when it is done.
            self.agrees_with = Some(Arc::clone(set));
            return None;
        }
        let removed: Vec<Name> = self
            .held
            .iter()
            .filter(|(name, held)| !held.is_absent() && set.get(name).is_none())
            .map(|(name, _)| Arc::clone(name))
            .collect();
        if removed.is_empty() {
            self.agrees_with = Some(Arc::clone(set));
            return None;
        }
        self.draft(set, Vec::new(), removed, false)
    }

    fn agrees(&self, set: &Arc<ResourceSet>) -> bool {
        self.agrees_with.as_ref().is_some_and(|known| Arc::ptr_eq(known, set))
    }

    /// State of the world: a client that was not given its clusters on this stream keeps those that `known` finds by their version until nothing
    /// refers to them any more.
    pub fn recognize(&mut self, known: impl FnOnce(&str) -> Option<Arc<ResourceSet>>) {
        let Some(Claim { version: Some(version), .. }) = &self.claim else { return };
        let Some(set) = known(version).filter(|_| self.wanted.is_everything()) else { return };
        for resource in set.iter() {
            self.hold(resource, false);
            if let Some(held) = self.held.get_mut(resource.name()) {
                held.settled();
            }
        }
    }

    /// Compares what a reconnected client says it has, and what it refused before, with the first snapshot.
    fn settle_claim(&mut self, set: &Arc<ResourceSet>) {
        let Some(Claim { version, refused }) = self.claim.take() else { return };
        let whole = version_of(self.wanted.of(set));
        let accepted = version.is_some_and(|version| *version == *whole);
        let refused_whole = self.variant == Variant::StateOfTheWorld
            && refused.as_ref().is_some_and(|refused| refused.version == whole);
        let refused: BTreeMap<Name, Version> =
            refused.into_iter().flat_map(|refused| refused.resources).collect();
        let known: Vec<(Arc<Resource>, bool)> = self
            .wanted
            .of(set)
            .filter_map(|resource| {
                let one = self.variant == Variant::Delta
                    && refused.get(resource.name()) == Some(resource.version());
                (accepted || refused_whole || one).then(|| (Arc::clone(resource), refused_whole || one))
            })
            .collect();
        for (resource, refused) in known {
            self.demanded.remove(resource.name());
            self.hold(&resource, refused);
            if !refused && let Some(held) = self.held.get_mut(resource.name()) {
                held.settled();
            }
        }
        if accepted || refused_whole {
            self.owed = false;
        }
    }

    fn hold(&mut self, resource: &Arc<Resource>, refused: bool) {
        let kept = (self.variant == Variant::StateOfTheWorld).then(|| Arc::clone(resource));
        let held = self.held.entry(Arc::clone(resource.name())).or_insert_with(Held::absent);
        held.sent(Arc::clone(resource.version()), kept, refused);
    }

    /// Turns a difference into a response: the one place where the variants part.
    fn draft(
        &mut self,
        set: &Arc<ResourceSet>,
        send: Vec<Arc<Resource>>,
        removed: Vec<Name>,
        keep_removed: bool,
    ) -> Option<Draft> {
        let changed = send.iter().filter(|new| self.held.get(new.name()).is_none_or(|held| !held.is(new)));
        let changed: Vec<Name> = changed.map(|resource| Arc::clone(resource.name())).collect();
        // What is sent now need not be of the set that was sent before, not even when that one comes back.
        self.agrees_with = None;
        let owed = std::mem::take(&mut self.owed);
        let (resources, version) = match self.variant {
            Variant::Delta => (send, Arc::clone(set.version())),
            Variant::StateOfTheWorld => {
                let kept = self.held.values().filter_map(Held::resource);
                let kept = kept.filter(|old| keep_removed && set.get(old.name()).is_none());
                let mut all: BTreeMap<&Name, &Arc<Resource>> = kept.map(|old| (old.name(), old)).collect();
                all.extend(self.wanted.of(set).map(|resource| (resource.name(), resource)));
                let version = version_of(all.values().copied());
                let all: Vec<_> =
                    if self.kind.is_root() { all.into_values().cloned().collect() } else { send };
                (all, version)
            }
        };
        let resources: Vec<_> = resources.into_iter().map(|resource| self.deliver(resource)).collect();
        for Delivery { resource, .. } in &resources {
            let same = self.held.get(resource.name()).is_some_and(|held| held.is(resource));
            if !same || self.variant == Variant::Delta {
                self.hold(resource, false);
            }
        }
        for name in &removed {
            if self.wanted.names().contains(name) {
                self.held.insert(Arc::clone(name), Held::absent());
            } else {
                self.held.remove(name);
            }
        }
        // State of the world can't say that a resource of these kinds is gone; there is nothing to send.
        let silent = self.variant == Variant::StateOfTheWorld && !self.kind.is_root() && resources.is_empty();
        (!silent || owed).then_some(Draft { version, resources, removed, changed })
    }

    fn deliver(&mut self, resource: Arc<Resource>) -> Delivery {
        let held = self.held.get(resource.name()).is_some_and(|held| !held.is_absent());
        // State of the world: a client that came with a version of its own may have any resource.
        let may_have = self.resumed && self.variant == Variant::StateOfTheWorld;
        let form = self.offers.form(&resource, held || may_have);
        Delivery { resource, form }
    }
}
