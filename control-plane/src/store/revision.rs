//! Revisions: the accepted changes of a store, numbered in the order in which they were accepted.

use serde::{Deserialize, Serialize};

use super::difference::DocumentChange;

/// How many revisions are kept at least. Older ones are dropped when a store is twice that far ahead.
pub const KEEP: usize = 1_000;

/// What brought a revision about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// What stood in the directory when the history began.
    Start,
    /// The directory was changed by hand, or by what writes to it.
    Directory,
    /// The admin API.
    Api,
    /// A return to the documents of an earlier revision.
    Rollback(u64),
}

/// One accepted change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Counts from 1. The order of revisions is that of their numbers, whatever the clock said.
    pub number: u64,
    /// Wall-clock time in milliseconds since 1970.
    pub time: u64,
    /// Who.
    pub author: String,
    /// Why.
    pub message: String,
    /// How.
    pub origin: Origin,
    /// What, in the order of kinds and names.
    pub changes: Vec<DocumentChange>,
}

/// Where revisions are kept, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The oldest that can be looked at and rolled back to.
    pub oldest: u64,
    /// The newest.
    pub newest: u64,
    /// The file that they are kept in; `None` if they are in memory and end with this process, because there is no `--state`.
    pub file: Option<String>,
}
