//! The kinds of document, as they are written. Everything here has been read and has the right shape; whether references
//! resolve is [`crate::model`]'s question.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod affinity;
mod backend;
mod certificate;
mod filter;
mod gateway;
mod limits;
mod matching;
mod policy;
mod route;
mod tracing;

pub use affinity::{HashCookie, HashKey, SessionKind, SessionPersistence};
pub use backend::{
    Backend, BackendProtocol, BalancingPolicy, ConnectionPool, Discovery, Dns, Endpoint, GrpcCheck,
    HealthCheck, HttpCheck, LoadBalancing, OutlierDetection, TcpCheck,
};
pub(crate) use backend::{MAX_UNITS, units_of_weight};
pub use certificate::{BackendTls, Certificate, ListenerTls};
pub use filter::{
    Filter, FilterKind, Fraction, Header, HeaderModifier, MirrorRef, PathModifier, PathModifierKind,
    RedirectCode, RequestMirror, RequestRedirect, Scheme, UrlRewrite,
};
pub use gateway::{Gateway, Listener, Protocol, Push};
pub use limits::{ClientAddress, Kibibytes, Limits, TrustedHops};
pub use matching::{
    GrpcMatch, HeaderMatch, Match, PathMatch, PathMatchKind, QueryParamMatch, RouteKeyMatch, ValueMatchKind,
};
pub use policy::{TargetKind, TargetRef, TrafficPolicy};
pub use route::{BackendRef, ParentRef, Retry, RetryCondition, Route, Rule, Timeouts};
pub use tracing::Tracing;

/// Values of enumerations (by the name of their type) that belong to the language and that nothing acts on yet.
pub(crate) const LATER_VALUES: &[(&str, &[&str])] =
    &[("Kind", &["Rollout"]), ("Protocol", &["MQTT", "MQTTS"])];

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
    /// See [`Certificate`].
    Certificate,
}

impl Kind {
    /// All of them, in the order in which a reader meets them.
    pub const ALL: [Self; 5] =
        [Self::Gateway, Self::Route, Self::Backend, Self::TrafficPolicy, Self::Certificate];

    /// As it is written in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::Route => "Route",
            Self::Backend => "Backend",
            Self::TrafficPolicy => "TrafficPolicy",
            Self::Certificate => "Certificate",
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
    /// Keys, and whose word counts.
    Certificate(Arc<Certificate>),
}
