//! What keeps requests that belong together on one endpoint.

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::unit::Duration;

use crate::document::syntax;

/// What a request is told from others by. The first that a request has decides; without any it goes anywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HashKey {
    /// The key that policies find.
    RouteKey,
    /// The client's address.
    ClientAddress,
    /// The value of a header.
    #[serde(deserialize_with = "syntax::header_name")]
    Header(String),
    /// The value of a cookie.
    Cookie(HashCookie),
}

/// A cookie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HashCookie {
    /// Its name.
    #[serde(deserialize_with = "syntax::cookie_name")]
    pub name: String,
    /// Who has none is given one for this time; `0s` for as long as the browser is open. None is given where this is not.
    pub ttl: Option<Duration>,
}

/// What keeps a session on the endpoint that had its first request, as long as that is well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionPersistence {
    /// The cookie's name; `spillway-session` where not given.
    #[serde(default = "session_name", deserialize_with = "syntax::cookie_name")]
    pub session_name: String,
    /// What carries the session; `Cookie` where not given.
    #[serde(rename = "type", default)]
    pub kind: SessionKind,
    /// After this time, whatever happens, a session is over and another endpoint is chosen. Where not given it lasts as long as the browser is open.
    pub absolute_timeout: Option<Duration>,
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum SessionKind {
    /// A cookie that Envoy sets.
    #[default]
    Cookie,
}

fn session_name() -> String {
    "spillway-session".to_owned()
}
