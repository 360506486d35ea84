//! Priority and degradation as they are written.

use serde::{Deserialize, Serialize};

use super::key::KeyAlternative;
use super::reaction::{Mode, Response};
use crate::request_match::RequestMatch;
use crate::unit::{Duration, Ratio};

/// Who is shed first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Priority {
    /// Where a request says its level: the first alternative that is complete and names one.
    pub from: Vec<KeyAlternative>,
    /// The level of all others.
    pub default: String,
    /// The levels, the most important first.
    pub levels: Vec<String>,
}

/// What is given up under pressure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Degrade {
    /// `[a-z0-9-]`, unique in its policy; shows in headers, metrics and logs.
    pub name: String,
    /// When it comes into force: all of these.
    pub when: Pressure,
    /// Which levels it is about; all where not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shed: Vec<String>,
    /// The share of them that passes all the same; none where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admit: Option<Ratio>,
    /// Only requests that match any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<RequestMatch>,
    /// Whether it rejects or only counts.
    #[serde(default, skip_serializing_if = "Mode::is_enforce")]
    pub mode: Mode,
    /// What a rejected client is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// Signs of too much load; all that are given must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pressure {
    /// The largest share in use of any bulkhead in the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Ratio>,
    /// One answer in a hundred takes as long as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<Duration>,
    /// The share of failures among the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Ratio>,
}
