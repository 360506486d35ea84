//! What one stream wants of one kind of resource, what it has been sent, and what is due.
//!
//! A pure state machine for both variants of the protocol: they differ in how a request says what is wanted ([`Interest`]) and in
//! how the same difference becomes a response (`Subscription::draft`). Nothing is queued: what is due is worked out from the
//! newest snapshot at the moment when there is room for a response, so a response can't be out of date when it is sent.
//!
//! Source: the xDS protocol page of Envoy's documentation, and what Envoy 1.40 was seen to do.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::resource::Kind;
use crate::snapshot::{Name, Resource, ResourceSet, Version, version_of};

/// The two variants of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Every response says everything about what it covers.
    StateOfTheWorld,
    /// Responses say what changed.
    Delta,
}

/// What a request says about the resources wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// State of the world: all of the names.
    Exactly {
        /// Everything wanted from now on.
        names: Vec<String>,
        /// The version last accepted, empty if there is none.
        version: String,
    },
    /// Delta: changes to the names.
    Change {
        /// Wanted from now on.
        subscribe: Vec<String>,
        /// No longer wanted.
        unsubscribe: Vec<String>,
        /// In the first request: what the client still has from an earlier stream, with versions.
        holds: HashMap<String, String>,
    },
}

/// A response in the terms of both variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Of what is sent, or of everything after it has been applied.
    pub version: Version,
    /// Sent.
    pub resources: Vec<Arc<Resource>>,
    /// Names that no longer exist, or never did. Delta alone says this.
    pub removed: Vec<Name>,
    /// Those of `resources` that the client does not have yet in this version.
    pub changed: Vec<Name>,
}

/// Something that a client has refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The version of the response.
    pub version: Version,
    /// What the response contained, with versions.
    pub resources: Vec<(Name, Version)>,
}

/// More answers than this without an acknowledgement, and even what a client asks for waits. It bounds what is remembered about a
/// client that never acknowledges.
const MAX_IN_FLIGHT: usize = 8;

/// The special name that means everything.
const WILDCARD: &str = "*";

/// One stream's subscription to one kind of resource.
#[derive(Debug)]
pub struct Subscription {
    kind: Kind,
    variant: Variant,
    wildcard: bool,
    /// A name was given once, so that an empty list no longer means everything.
    named: bool,
    names: BTreeSet<Name>,
    held: BTreeMap<Name, Held>,
    /// To be sent although the client has it, or although other kinds are not settled: it was asked for.
    demanded: BTreeSet<Name>,
    /// An answer is due even if there is nothing to say.
    owed: bool,
    in_flight: VecDeque<InFlight>,
    last_nonce: Option<String>,
    /// The client brought state along from an earlier stream. What it claims is compared with the first snapshot.
    claim: Option<Claim>,
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
struct InFlight {
    nonce: String,
    version: Version,
    contents: Vec<(Name, Option<Version>)>,
}

#[derive(Debug)]
struct Claim {
    version: Option<String>,
    refused: Option<Refused>,
}

/// What a request turned out to be, apart from what it says about names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Neither accepts nor refuses anything.
    None,
    /// The response of this version was applied.
    Accepted(Version),
    /// The response was refused.
    Refused(Refused),
}

impl Subscription {
    /// A subscription as its first request makes it. A nonce in that request belongs to an earlier stream and means nothing.
    ///
    /// `legacy_wildcard`: whether never having named anything means everything. `refused`: what this node refused before.
    pub fn open(
        kind: Kind,
        variant: Variant,
        interest: Interest,
        legacy_wildcard: bool,
        refused: Option<Refused>,
    ) -> Self {
        let mut subscription = Self {
            kind,
            variant,
            wildcard: false,
            named: false,
            names: BTreeSet::new(),
            held: BTreeMap::new(),
            demanded: BTreeSet::new(),
            owed: false,
            in_flight: VecDeque::new(),
            last_nonce: None,
            claim: None,
            may_repeat: true,
            agrees_with: None,
        };
        match interest {
            Interest::Exactly { names, version } => {
                subscription.set_names(names, legacy_wildcard);
                if !version.is_empty() {
                    subscription.claim = Some(Claim { version: Some(version), refused });
                }
            }
            Interest::Change { subscribe, unsubscribe, holds } => {
                let everything = subscribe.is_empty() && legacy_wildcard && kind.is_root();
                subscription.change_names(subscribe, unsubscribe);
                if everything {
                    subscription.wildcard = true;
                    subscription.owed = true;
                }
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
        self.agrees_with = None;
        match interest {
            Interest::Exactly { names, version: _ } => self.set_names(names, legacy_wildcard),
            // What a client holds counts in the first request alone; afterwards this side knows better.
            Interest::Change { subscribe, unsubscribe, holds: _ } => {
                self.change_names(subscribe, unsubscribe)
            }
        }
    }

    /// What the client brought along from an earlier stream need not be sent again.
    fn take_over(&mut self, holds: HashMap<String, String>) {
        for (name, version) in holds {
            let name = Name::from(name);
            if self.wants(&name) {
                self.demanded.remove(&name);
                self.held
                    .insert(name, Held { version: Some(version.into()), resource: None, refused: false });
            }
        }
        self.owed = self.owed && self.held.is_empty();
    }

    fn set_names(&mut self, names: Vec<String>, legacy_wildcard: bool) {
        let names: BTreeSet<Name> = names.into_iter().map(Name::from).collect();
        self.named |= !names.is_empty();
        let wildcard = names.contains(WILDCARD)
            || (names.is_empty() && !self.named && legacy_wildcard && self.kind.is_root());
        let grown = wildcard && !self.wildcard;
        self.wildcard = wildcard;
        let before = std::mem::take(&mut self.names);
        self.names = names.into_iter().filter(|name| &**name != WILDCARD).collect();
        for name in self.names.difference(&before) {
            if !self.held.contains_key(name) {
                self.demanded.insert(Arc::clone(name));
            }
        }
        self.owed |= grown || (self.kind.is_root() && !self.demanded.is_empty());
        self.forget_unwanted();
    }

    fn change_names(&mut self, subscribe: Vec<String>, unsubscribe: Vec<String>) {
        self.named |= !subscribe.is_empty();
        for name in unsubscribe {
            if name == WILDCARD {
                self.wildcard = false;
            } else if self.names.remove(name.as_str()) && self.wildcard {
                if self.held.get(name.as_str()).is_some_and(|held| held.version.is_none()) {
                    self.held.remove(name.as_str());
                }
                self.demanded.insert(name.into());
            }
        }
        for name in subscribe {
            if name == WILDCARD {
                self.owed |= !self.wildcard;
                self.wildcard = true;
            } else {
                let name = Name::from(name);
                self.demanded.insert(Arc::clone(&name));
                self.names.insert(name);
            }
        }
        self.forget_unwanted();
    }

    fn forget_unwanted(&mut self) {
        let Self { wildcard, names, held, demanded, .. } = self;
        if !*wildcard {
            held.retain(|name, _| names.contains(name));
            demanded.retain(|name| names.contains(name));
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Takes an acknowledgement or a refusal of the response `nonce`.
    pub fn reply(&mut self, nonce: &str, refuses: bool) -> Reply {
        let Some(position) = self.in_flight.iter().position(|response| response.nonce == nonce) else {
            return Reply::None;
        };
        // The stream keeps order, so whoever answers a later response has seen the earlier ones.
        let Some(answered) = self.in_flight.drain(..=position).next_back() else {
            return Reply::None;
        };
        for (name, version) in &answered.contents {
            if let Some(held) = self.held.get_mut(name).filter(|held| held.version == *version) {
                held.refused = refuses;
            }
        }
        if !refuses {
            return Reply::Accepted(answered.version);
        }
        let resources =
            answered.contents.into_iter().filter_map(|(name, version)| Some((name, version?))).collect();
        Reply::Refused(Refused { version: answered.version, resources })
    }

    /// Whether `nonce` is that of the response sent last; before the first response any is.
    pub fn is_current(&self, nonce: &str) -> bool {
        self.last_nonce.as_deref().is_none_or(|last| last == nonce)
    }

    /// Whether a state-of-the-world request says nothing new.
    pub fn is_repetition(&self, nonce: &str, names: &[String]) -> bool {
        let same =
            names.len() == self.names.len() && names.iter().all(|name| self.names.contains(name.as_str()));
        same && self.in_flight.is_empty() && self.last_nonce.as_deref() == Some(nonce)
    }

    /// A state-of-the-world client repeats itself when it has made something new that needs resources it has already seen: Envoy does
    /// so with endpoints after a cluster has changed. Everything named is sent again, but once for every snapshot only, or a
    /// client that answers everything twice would be kept in a loop.
    pub fn repeated(&mut self) {
        if std::mem::take(&mut self.may_repeat) {
            self.demanded.extend(self.names.iter().cloned());
        }
    }

    /// A newer snapshot is there.
    pub fn refresh(&mut self) {
        self.may_repeat = true;
    }

    /// Sends `name` again, changed or not, if it is wanted.
    pub fn demand(&mut self, name: &Name) {
        if self.wants(name) {
            self.demanded.insert(Arc::clone(name));
        }
    }

    /// How many names are subscribed to.
    pub fn named_count(&self) -> usize {
        self.names.len()
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
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        self.settle_claim(set);
        let push = open && self.in_flight.is_empty();
        if !self.owed && self.demanded.is_empty() && (!push || self.agrees(set)) {
            return None;
        }
        let everything = push || self.owed;
        let mut send = Vec::new();
        for resource in self.wanted(set) {
            let has = self
                .held
                .get(resource.name())
                .is_some_and(|held| held.version.as_ref() == Some(resource.version()));
            if (everything && !has) || self.demanded.contains(resource.name()) {
                send.push(Arc::clone(resource));
            }
        }
        let mut removed = Vec::new();
        for name in &self.names {
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
            if !self.names.contains(name) && !self.held.contains_key(name) && set.get(name).is_none() {
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

    fn wanted<'a>(&'a self, set: &'a ResourceSet) -> Box<dyn Iterator<Item = &'a Arc<Resource>> + 'a> {
        if self.wildcard {
            Box::new(set.iter())
        } else {
            Box::new(self.names.iter().filter_map(|name| set.get(name)))
        }
    }

    /// Compares what a reconnected client says it has, and what it refused before, with the first snapshot.
    fn settle_claim(&mut self, set: &Arc<ResourceSet>) {
        let Some(Claim { version, refused }) = self.claim.take() else { return };
        let whole = version_of(self.wanted(set));
        let accepted = version.is_some_and(|version| *version == *whole);
        let refused_whole = self.variant == Variant::StateOfTheWorld
            && refused.as_ref().is_some_and(|refused| refused.version == whole);
        let refused: BTreeMap<Name, Version> =
            refused.into_iter().flat_map(|refused| refused.resources).collect();
        let known: Vec<(Arc<Resource>, bool)> = self
            .wanted(set)
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
                all.extend(self.wanted(set).map(|resource| (resource.name(), resource)));
                let version = version_of(all.values().copied());
                let all: Vec<_> =
                    if self.kind.is_root() { all.into_values().cloned().collect() } else { send };
                (all, version)
            }
        };
        for resource in &resources {
            let same = self
                .held
                .get(resource.name())
                .is_some_and(|held| held.version.as_ref() == Some(resource.version()));
            if !same || self.variant == Variant::Delta {
                self.hold(resource, false);
            }
        }
        for name in &removed {
            if self.names.contains(name) {
                self.held.insert(Arc::clone(name), Held { version: None, resource: None, refused: false });
            } else {
                self.held.remove(name);
            }
        }
        // State of the world can't say that a resource of these kinds is gone; there is nothing to send.
        let silent = self.variant == Variant::StateOfTheWorld && !self.kind.is_root() && resources.is_empty();
        (!silent || owed).then_some(Draft { version, resources, removed, changed })
    }

    /// Records that a draft was sent as the response `nonce`.
    pub fn sent(&mut self, draft: &Draft, nonce: &str) {
        let sent = draft.resources.iter().map(|r| (Arc::clone(r.name()), Some(Arc::clone(r.version()))));
        let removed = draft.removed.iter().map(|name| (Arc::clone(name), None));
        self.in_flight.push_back(InFlight {
            nonce: nonce.to_owned(),
            version: Arc::clone(&draft.version),
            contents: sent.chain(removed).collect(),
        });
        self.last_nonce = Some(nonce.to_owned());
    }
}
