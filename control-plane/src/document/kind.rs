//! The kinds of document, as they are written. Everything here has been read and has the right shape; whether references
//! resolve is [`crate::model`]'s question.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod backend;
mod gateway;
mod policy;
mod route;

pub use backend::{Backend, BackendProtocol, Endpoint};
pub use gateway::{Gateway, Listener, Protocol, Push};
pub use policy::{TargetKind, TargetRef, TrafficPolicy};
pub use route::{
    BackendRef, HeaderMatch, HeaderMatchKind, Match, ParentRef, PathMatch, PathMatchKind, Route, Rule,
};

/// Values of enumerations (by the name of their type) that belong to the language and that nothing acts on yet.
pub(crate) const LATER_VALUES: &[(&str, &[&str])] = &[
    ("Kind", &["Certificate", "Rollout"]),
    ("Protocol", &["HTTPS", "TCP", "TLS", "MQTT", "MQTTS"]),
    ("PathMatchKind", &["RegularExpression"]),
    ("HeaderMatchKind", &["RegularExpression"]),
    ("BackendProtocol", &["TCP"]),
];

/// The kinds of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Kind {
    /// See [`Gateway`].
    Gateway,
    /// See [`Route`].
    Route,
    /// See [`Backend`].
    Backend,
    /// See [`TrafficPolicy`].
    TrafficPolicy,
}

impl Kind {
    /// All of them, in the order in which a reader meets them.
    pub const ALL: [Self; 4] = [Self::Gateway, Self::Route, Self::Backend, Self::TrafficPolicy];

    /// As it is written in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::Route => "Route",
            Self::Backend => "Backend",
            Self::TrafficPolicy => "TrafficPolicy",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What any document may be.
#[derive(Debug, Clone)]
pub enum Spec {
    /// Listeners for one fleet.
    Gateway(Arc<Gateway>),
    /// Matches and where they lead.
    Route(Arc<Route>),
    /// One upstream service.
    Backend(Arc<Backend>),
    /// Protections and what they apply to.
    TrafficPolicy(Arc<TrafficPolicy>),
}
