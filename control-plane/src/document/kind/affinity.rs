//! What keeps requests that belong together on one endpoint.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use spillway_policy::unit::Duration;

use crate::document::syntax;

/// What a request is told from others by. The first that a request has decides; without any it goes anywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum HashKey {
    /// The key that policies find.
    RouteKey,
    /// The client's address.
    ClientAddress,
    /// The value of a header.
    Header(String),
    /// The value of a cookie.
    Cookie(HashCookie),
}

/// One that is written as a word.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Word {
    RouteKey,
    ClientAddress,
}

/// One that has more to say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Source {
    header: Option<HeaderName>,
    cookie: Option<HashCookie>,
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct HeaderName {
    #[serde(deserialize_with = "syntax::header_name")]
    name: String,
}

impl<'de> Deserialize<'de> for HashKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = HashKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("routeKey, clientAddress, {header: x-user} or {cookie: {name: user}}")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<HashKey, E> {
                Word::deserialize(de::value::StrDeserializer::new(word)).map(|word| match word {
                    Word::RouteKey => HashKey::RouteKey,
                    Word::ClientAddress => HashKey::ClientAddress,
                })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, source: A) -> Result<HashKey, A::Error> {
                match Source::deserialize(de::value::MapAccessDeserializer::new(source))? {
                    Source { header: Some(HeaderName { name }), cookie: None } => Ok(HashKey::Header(name)),
                    Source { header: None, cookie: Some(cookie) } => Ok(HashKey::Cookie(cookie)),
                    _ => Err(de::Error::custom("expected one of `header` and `cookie`")),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
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
