//! Concurrency limits as they are written.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::rule::rule;

rule! {
    /// So many requests in flight at once: `max`, or what `adaptive` finds.
    pub struct Concurrency {
        /// A fixed limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max: Option<NonZeroU32>,
        /// A limit found from latency.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub adaptive: Option<Adaptive>,
    }
}

/// The bounds of a limit that is found from latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adaptive {
    /// It begins here and never falls below.
    pub min: NonZeroU32,
    /// It never grows beyond.
    pub max: NonZeroU32,
}
