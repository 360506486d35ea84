//! What goes into a subscription and comes out of it, in the terms of both variants of the protocol.

use std::collections::HashMap;
use std::sync::Arc;

use crate::snapshot::{Form, Name, Resource, Version};

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
    pub resources: Vec<Delivery>,
    /// Names that no longer exist, or never did. Delta alone says this.
    pub removed: Vec<Name>,
    /// Those of `resources` that the client does not have yet in this version.
    pub changed: Vec<Name>,
}

/// A resource on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The resource.
    pub resource: Arc<Resource>,
    /// In what form.
    pub form: Form,
}

impl Delivery {
    /// The resource's name.
    pub fn name(&self) -> &Name {
        self.resource.name()
    }

    /// The resource's version.
    pub fn version(&self) -> &Version {
        self.resource.version()
    }
}

/// Something that a client has refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The version of the response.
    pub version: Version,
    /// What the response contained, with versions.
    pub resources: Vec<(Name, Version)>,
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
