//! Rate limits as they are written.

use std::num::NonZeroU32;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::NOT_AVAILABLE_YET;
use super::rule::rule;
use crate::cost::Cost;
use crate::request_match::RequestMatch;
use crate::unit::Rate;

rule! {
    /// A token bucket: `rate` tokens flow in, at most `burst` stay, a request takes one.
    pub struct RateLimit {
        /// Tokens per time.
        pub rate: Rate,
        /// The bucket's size in tokens; one second of `rate`, at least 1, where not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub burst: Option<NonZeroU32>,
        /// Only requests that match any of these.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub when: Vec<RequestMatch>,
        /// Tokens that one request takes; 1 where not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cost: Option<Cost>,
        /// Who shares the buckets.
        #[serde(default, skip_serializing_if = "LimitScope::is_proxy")]
        pub scope: LimitScope,
        /// Other rates for single keys.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub overrides: Vec<Override>,
        /// `RateLimit` and `RateLimit-Policy` on responses. Such a rule takes no leases, so that what it says is true.
        #[serde(default, skip_serializing_if = "is_false")]
        pub rate_limit_headers: bool,
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Another rate for one key of a limit. The key has a bucket of its own then, which is full when the override is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// The whole key, as it is made of its parts.
    pub key: String,
    /// Tokens per time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The bucket's size in tokens; one second of `rate`, at least 1, where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
    /// Whether the limit passes this key by.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unlimited: bool,
}

/// Who shares the buckets of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum LimitScope {
    /// The workers of one proxy.
    #[default]
    Proxy,
}

impl LimitScope {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    const fn is_proxy(&self) -> bool {
        matches!(self, Self::Proxy)
    }
}

impl<'de> Deserialize<'de> for LimitScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "proxy" => Ok(Self::Proxy),
            "fleet" => Err(de::Error::custom(format!("`fleet` is {NOT_AVAILABLE_YET}"))),
            other => Err(de::Error::custom(format!("expected proxy or fleet, found {other:?}"))),
        }
    }
}
