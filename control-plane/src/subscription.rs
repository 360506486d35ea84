//! What one stream wants of one kind of resource, what it has been sent, and what is due.
//!
//! A pure state machine for both variants of the protocol: they differ in how a request says what is wanted ([`Interest`]) and in
//! how the same difference becomes a response (`Subscription::draft`). Nothing is queued: what is due is worked out from the
//! newest snapshot at the moment when there is room for a response, so a response can't be out of date when it is sent.
//!
//! Source: the xDS protocol page of Envoy's documentation, and what Envoy 1.40 was seen to do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

mod in_flight;
mod message;
mod offer;
mod wanted;

use self::in_flight::{InFlight, Sent};
pub use self::message::{Delivery, Draft, Interest, Refused, Reply, Variant};
use self::offer::Offers;
use self::wanted::{Shift, Wanted};

use crate::resource::Kind;
use crate::snapshot::{Name, Resource, ResourceSet, Version, version_of};
use crate::stream::Options;

/// One stream's subscription to one kind of resource.
#[derive(Debug)]
pub struct Subscription {
    kind: Kind,
    variant: Variant,
    wanted: Wanted,
    held: BTreeMap<Name, Held>,
    /// To be sent although the client has it, or although other kinds are not settled: it was asked for.
    demanded: BTreeSet<Name>,
    /// An answer is due even if there is nothing to say.
    owed: bool,
    in_flight: InFlight,
    /// The client brought state along from an earlier stream. What it claims is compared with the first snapshot.
    claim: Option<Claim>,
    /// State of the world: the client came with a version of its own, so it may have any resource.
    reconnected: bool,
    offers: Offers,
    /// One repeated request is answered for every snapshot; see [`Subscription::repeated`].
    may_repeat: bool,
    /// The set with which `held` was found to agree.
    agrees_with: Option<Arc<ResourceSet>>,
}

/// What a client was last sent under a name.
#[derive(Debug)]
struct Held {
    /// `None`: it was told that there is no such resource.
    version: Option<Version>,
    /// State of the world: a removal is held back by sending the resource again.
    resource: Option<Arc<Resource>>,
    refused: bool,
}

#[derive(Debug)]
struct Claim {
    version: Option<String>,
    refused: Option<Refused>,
}

impl Subscription {
    /// A subscription as its first request makes it. A nonce in that request belongs to an earlier stream and means nothing.
    ///
    /// `refused`: what this node refused before.
    pub fn open(
        kind: Kind,
        variant: Variant,
        interest: Interest,
        Options { legacy_wildcard, seed, .. }: Options,
        refused: Option<Refused>,
    ) -> Self {
        let mut subscription = Self {
            kind,
            variant,
            wanted: Wanted::default(),
            held: BTreeMap::new(),
            demanded: BTreeSet::new(),
            owed: false,
            in_flight: InFlight::default(),
            claim: None,
            reconnected: false,
            offers: Offers::new(seed),
            may_repeat: true,
            agrees_with: None,
        };
        match interest {
            Interest::Exactly { names, version } => {
                let shift = subscription.wanted.replace(names, legacy_wildcard && kind.is_root());
                subscription.shift(shift);
                if !version.is_empty() {
                    subscription.reconnected = true;
                    subscription.claim = Some(Claim { version: Some(version), refused });
                }
            }
            Interest::Change { subscribe, unsubscribe, holds } => {
                let mut shift = subscription.wanted.change(subscribe, unsubscribe);
                if legacy_wildcard && kind.is_root() {
                    shift.everything = subscription.wanted.everything_unnamed();
                }
                subscription.shift(shift);
                if !holds.is_empty() {
                    subscription.take_over(holds);
                    subscription.claim = Some(Claim { version: None, refused });
                }
            }
        }
        subscription
    }

    /// Applies a later request's change of interest.
    pub fn change(&mut self, interest: Interest, legacy_wildcard: bool) {
        let shift = match interest {
            Interest::Exactly { names, version: _ } => {
                self.wanted.replace(names, legacy_wildcard && self.kind.is_root())
            }
            // What a client holds counts in the first request alone; afterwards this side knows better.
            Interest::Change { subscribe, unsubscribe, holds: _ } => {
                self.wanted.change(subscribe, unsubscribe)
            }
        };
        self.shift(shift);
    }

    fn shift(&mut self, shift: Shift) {
        if shift.is_none() {
            return;
        }
        self.agrees_with = None;
        let Shift { asked, covered, everything, less } = shift;
        if less {
            self.held.retain(|name, _| self.wanted.contains(name));
            self.demanded.retain(|name| self.wanted.contains(name));
            self.offers.retain(|name| self.wanted.contains(name));
        }
        for name in covered {
            // That there is no such resource is said again.
            if self.held.get(&name).is_some_and(|held| held.version.is_none()) {
                self.held.remove(&name);
            }
            self.demanded.insert(name);
        }
        // State of the world: what came with everything need not come again by its name.
        let whole = self.variant == Variant::StateOfTheWorld;
        let asked = asked.into_iter().filter(|name| !whole || !self.held.contains_key(name));
        let before = self.demanded.len();
        self.demanded.extend(asked);
        self.owed |= everything || (whole && self.kind.is_root() && self.demanded.len() > before);
    }

    /// What the client brought along from an earlier stream need not be sent again.
    fn take_over(&mut self, holds: HashMap<String, String>) {
        for (name, version) in holds {
            let name = Name::from(name);
            if self.wanted.contains(&name) {
                self.demanded.remove(&name);
                let version = Some(version.into());
                self.held.insert(name, Held { version, resource: None, refused: false });
            }
        }
        self.owed = self.owed && self.held.is_empty();
    }

    /// Takes an acknowledgement or a refusal of the response `nonce`.
    pub fn reply(&mut self, nonce: &str, refuses: bool) -> Reply {
        let Some(Sent { version, contents, .. }) = self.in_flight.take(nonce) else { return Reply::None };
        for (name, version) in &contents {
            if let Some(held) = self.held.get_mut(name).filter(|held| held.version == *version) {
                held.refused = refuses;
            }
        }
        if refuses {
            let resources = contents.into_iter().filter_map(|(name, version)| Some((name, version?)));
            Reply::Refused(Refused { version, resources: resources.collect() })
        } else {
            self.offers.accepted();
            Reply::Accepted(version)
        }
    }

    /// When to send once more what was refused, or has to be confirmed, if anything. Extension configs only.
    pub fn retry_in(&self) -> Option<Duration> {
        let refused = self.held.values().any(|held| held.refused);
        self.offers.again_in(refused).filter(|_| self.kind == Kind::ExtensionConfig)
    }

    /// Sends that once more.
    pub fn retry(&mut self) {
        let refused = self.held.iter().filter(|(_, held)| held.refused);
        let mut refused: BTreeSet<_> = refused.map(|(name, _)| Arc::clone(name)).collect();
        let mut unconfirmed = self.offers.again(!refused.is_empty());
        self.demanded.append(&mut refused);
        self.demanded.append(&mut unconfirmed);
    }

    /// Whether `nonce` is that of the response sent last; before the first response any is.
    pub fn is_current(&self, nonce: &str) -> bool {
        self.in_flight.is_current(nonce)
    }

    /// Whether a state-of-the-world request says nothing new.
    pub fn is_repetition(&self, nonce: &str, names: &[String]) -> bool {
        self.wanted.is_same(names) && self.in_flight.is_repeated(nonce)
    }

    /// A state-of-the-world client repeats itself when it has made something new that needs resources it has already seen: Envoy does
    /// so with endpoints after a cluster has changed. Everything named is sent again, but once for every snapshot only, or a
    /// client that answers everything twice would be kept in a loop.
    pub fn repeated(&mut self) {
        if std::mem::take(&mut self.may_repeat) {
            self.demanded.extend(self.wanted.names().iter().cloned());
        }
    }

    /// A newer snapshot is there.
    pub fn refresh(&mut self) {
        self.may_repeat = true;
    }

    /// Sends `name` again, changed or not, if it is wanted.
    pub fn demand(&mut self, name: &Name) {
        if self.wanted.contains(name) {
            self.demanded.insert(Arc::clone(name));
        }
    }

    /// How many names are subscribed to.
    pub fn named_count(&self) -> usize {
        self.wanted.names().len()
    }

    /// Whether everything sent has been answered.
    pub fn is_answered(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether everything in `set` that was sent has been accepted, so that nothing the client still uses is older.
    pub fn is_accepted(&self, set: &ResourceSet) -> bool {
        let refuses = |(name, held): (&Name, &Held)| held.refused && set.get(name).is_some();
        self.in_flight.is_empty() && !self.held.iter().any(refuses)
    }

    /// Additions and changes that are due. With `open` false only what was asked for, as other kinds have to settle first.
    pub fn updates(&mut self, set: &Arc<ResourceSet>, open: bool) -> Option<Draft> {
        if self.in_flight.is_full() {
            return None;
        }
        self.settle_claim(set);
        let push = open && self.in_flight.is_empty();
        if !self.owed && self.demanded.is_empty() && (!push || self.agrees(set)) {
            return None;
        }
        let everything = push || self.owed;
        let mut send = Vec::new();
        for resource in self.wanted.of(set) {
            let has = self
                .held
                .get(resource.name())
                .is_some_and(|held| held.version.as_ref() == Some(resource.version()));
            if (everything && !has) || self.demanded.contains(resource.name()) {
                send.push(Arc::clone(resource));
            }
        }
        let mut removed = Vec::new();
        for name in self.wanted.names() {
            // What the client still has is removed in its turn, by `removals`.
            let known = self.held.get(name);
            let unanswered = known.is_none()
                || (self.demanded.contains(name) && known.is_some_and(|held| held.version.is_none()));
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
            .filter(|(name, held)| held.version.is_some() && set.get(name).is_none())
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
        }
        if accepted || refused_whole {
            self.owed = false;
        }
    }

    fn hold(&mut self, resource: &Arc<Resource>, refused: bool) {
        let kept = (self.variant == Variant::StateOfTheWorld).then(|| Arc::clone(resource));
        self.held.insert(
            Arc::clone(resource.name()),
            Held { version: Some(Arc::clone(resource.version())), resource: kept, refused },
        );
    }

    /// Turns a difference into a response: the one place where the variants part.
    fn draft(
        &mut self,
        set: &Arc<ResourceSet>,
        send: Vec<Arc<Resource>>,
        removed: Vec<Name>,
        keep_removed: bool,
    ) -> Option<Draft> {
        let changed = send.iter().filter(|new| {
            self.held.get(new.name()).is_none_or(|held| held.version.as_ref() != Some(new.version()))
        });
        let changed: Vec<Name> = changed.map(|resource| Arc::clone(resource.name())).collect();
        let owed = std::mem::take(&mut self.owed);
        let (resources, version) = match self.variant {
            Variant::Delta => (send, Arc::clone(set.version())),
            Variant::StateOfTheWorld => {
                let kept = self.held.values().filter_map(|held| held.resource.as_ref());
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
            let same = self
                .held
                .get(resource.name())
                .is_some_and(|held| held.version.as_ref() == Some(resource.version()));
            if !same || self.variant == Variant::Delta {
                self.hold(resource, false);
            }
        }
        for name in &removed {
            if self.wanted.names().contains(name) {
                self.held.insert(Arc::clone(name), Held { version: None, resource: None, refused: false });
            } else {
                self.held.remove(name);
            }
        }
        // State of the world can't say that a resource of these kinds is gone; there is nothing to send.
        let silent = self.variant == Variant::StateOfTheWorld && !self.kind.is_root() && resources.is_empty();
        (!silent || owed).then_some(Draft { version, resources, removed, changed })
    }

    fn deliver(&mut self, resource: Arc<Resource>) -> Delivery {
        let held = self.held.get(resource.name()).is_some_and(|held| held.version.is_some());
        let form = self.offers.form(&resource, held || self.reconnected);
        Delivery { resource, form }
    }

    /// Records that a draft was sent as the response `nonce`.
    pub fn sent(&mut self, draft: &Draft, nonce: &str) {
        self.in_flight.push(draft, nonce);
    }
}
