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

mod due;
mod held;
mod in_flight;
mod message;
mod offer;
mod wanted;

use self::held::Held;
pub use self::held::Standing;
use self::in_flight::{InFlight, Sent};
pub use self::message::{Delivery, Draft, Interest, Refused, Reply, Variant};
use self::offer::Offers;
use self::wanted::{Shift, Wanted};

use crate::resource::Kind;
use crate::snapshot::{Name, ResourceSet};
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
    /// The client brought state along from an earlier stream.
    resumed: bool,
    offers: Offers,
    /// One repeated request is answered for every snapshot; see [`Subscription::repeated`].
    may_repeat: bool,
    /// The set with which `held` was found to agree.
    agrees_with: Option<Arc<ResourceSet>>,
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
            resumed: false,
            offers: Offers::new(seed),
            may_repeat: true,
            agrees_with: None,
        };
        match interest {
            Interest::Exactly { names, version } => {
                let shift = subscription.wanted.replace(names, legacy_wildcard && kind.is_root());
                subscription.shift(shift);
                if !version.is_empty() {
                    subscription.resumed = true;
                    let version = Some(version).filter(|_| kind != Kind::Secret);
                    subscription.claim = Some(Claim { version, refused });
                }
            }
            Interest::Change { subscribe, unsubscribe, holds } => {
                let mut shift = subscription.wanted.change(subscribe, unsubscribe);
                if legacy_wildcard && kind.is_root() {
                    shift.everything = subscription.wanted.everything_unnamed();
                }
                subscription.shift(shift);
                if !holds.is_empty() {
                    subscription.resumed = true;
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
            if self.held.get(&name).is_some_and(Held::is_absent) {
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
                // A secret is sent again whatever its version: what a version is made of says nothing about what a proxy can still do
                // with what it once got. Only what no longer exists counts.
                let version = if self.kind == Kind::Secret { "".into() } else { version.into() };
                if self.kind != Kind::Secret {
                    self.demanded.remove(&name);
                }
                self.held.insert(name, Held::brought(version));
            }
        }
        self.owed = self.owed && self.held.is_empty();
    }

    /// Takes an acknowledgement or a refusal of the response `nonce`.
    pub fn reply(&mut self, nonce: &str, refuses: bool) -> Reply {
        let Some(Sent { version, contents, .. }) = self.in_flight.take(nonce) else { return Reply::None };
        // Such a response says everything. What was accepted before is not what is refused.
        let says_all = self.variant == Variant::StateOfTheWorld && self.kind.is_root();
        for (name, version) in &contents {
            if let Some(held) = self.held.get_mut(name) {
                let known = says_all && held.has_accepted(version.as_ref());
                held.answered(version.as_ref(), refuses && !known);
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
        let refused = self.held.values().any(Held::is_refused);
        self.offers.again_in(refused).filter(|_| self.kind == Kind::ExtensionConfig)
    }

    /// Sends that once more.
    pub fn retry(&mut self) {
        let refused = self.held.iter().filter(|(_, held)| held.is_refused());
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

    /// What the client has or waits for, name by name.
    pub fn standings(&self) -> impl Iterator<Item = (&Name, Standing<'_>)> {
        let untold = self.wanted.names().iter().filter(|name| !self.held.contains_key(*name));
        let held = self.held.iter().map(|(name, held)| (name, held.standing()));
        held.chain(untold.map(|name| (name, Standing::default())))
    }

    /// Whether the client brought state along from an earlier stream, and so works with it already.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// How many names are subscribed to.
    pub fn named_count(&self) -> usize {
        self.wanted.names().len()
    }

    /// Whether everything sent has been answered.
    pub fn is_answered(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether the client refuses what it was sent last of some resource.
    pub fn refuses(&self) -> bool {
        self.held.values().any(Held::is_refused)
    }

    /// Whether everything in `set` that was sent has been accepted, so that nothing the client still uses is older.
    pub fn is_accepted(&self, set: &ResourceSet) -> bool {
        let refuses = |(name, held): (&Name, &Held)| held.is_refused() && set.get(name).is_some();
        self.in_flight.is_empty() && !self.held.iter().any(refuses)
    }

    /// Records that a draft was sent as the response `nonce`.
    pub fn sent(&mut self, draft: &Draft, nonce: &str) {
        self.in_flight.push(draft, nonce);
    }
}
