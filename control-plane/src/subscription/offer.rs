//! How an extension config is offered to a proxy, so that its filter is never absent.
//!
//! The resource comes in several forms of the same content, see [`extension_config`](crate::resource::extension_config::extension_config) for
//! what Envoy makes of each. What is repeated is offered in a form that this proxy has not seen: Envoy answers bytes that it has just refused
//! with an acknowledgement, and does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::snapshot::{Form, Name, Resource, Version};

/// When an extension config is offered again after a refusal, the one exception from never repeating what was refused: Envoy refuses a
/// filter whose module it has yet to download, downloads it, and is not heard of again. It remembers a failed download for 10 s.
const RETRIES: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// How long after an extension config was offered in its first form it is offered as an update. A listener of somebody else's that did not
/// wait for it has accepted it without ever downloading the module, and lets requests through; as an update it is refused then, and downloaded.
/// Everywhere else it changes nothing.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// What has been offered on one stream.
#[derive(Debug)]
pub(super) struct Offers {
    versions: BTreeMap<Name, Version>,
    /// Offered in the first form and not yet as an update.
    unconfirmed: BTreeSet<Name>,
    /// How often what is refused now has been offered again.
    retries: usize,
    /// Differs from stream to stream.
    variation: u32,
}

impl Offers {
    /// Nothing offered yet. `seed` differs from stream to stream.
    pub(super) fn new(seed: u32) -> Self {
        Self { versions: BTreeMap::new(), unconfirmed: BTreeSet::new(), retries: 0, variation: seed }
    }

    /// The form in which to send a resource; `has` says whether the client may have one of that name.
    pub(super) fn form(&mut self, resource: &Resource, has: bool) -> Form {
        if !resource.has_forms() {
            return Form::First;
        }
        let last = self.versions.insert(resource.name().clone(), resource.version().clone());
        if !has {
            self.unconfirmed.insert(resource.name().clone());
            return Form::First;
        }
        self.unconfirmed.remove(resource.name());
        if last.is_some_and(|last| last != *resource.version()) {
            self.retries = 0;
            return Form::Update;
        }
        // Sent before, perhaps on another stream.
        self.variation = self.variation.wrapping_add(1);
        Form::Again(self.variation)
    }

    /// Something was accepted.
    pub(super) fn accepted(&mut self) {
        self.retries = 0;
    }

    /// What is no longer wanted is forgotten.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Name) -> bool) {
        self.versions.retain(|name, _| wanted(name));
        self.unconfirmed.retain(wanted);
    }

    /// When to offer something again, if at all. `refused` says whether something is refused.
    pub(super) fn again_in(&self, refused: bool) -> Option<Duration> {
        if refused {
            RETRIES.get(self.retries).copied()
        } else {
            (!self.unconfirmed.is_empty()).then_some(CONFIRM_AFTER)
        }
    }

    /// What to offer again, beside what is refused.
    pub(super) fn again(&mut self, refused: bool) -> BTreeSet<Name> {
        self.retries += usize::from(refused);
        std::mem::take(&mut self.unconfirmed)
    }
}
