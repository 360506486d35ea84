//! The documents that are in force, and the model that they make.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::document::kind::Kind;
use crate::model::Model;
use crate::telemetry::Parent;

/// A kind and a name.
pub type Key = (Kind, String);

/// What a store has accepted: valid as a whole.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// The revision that made it.
    pub revision: u64,
    /// In the order of kinds and names.
    pub documents: Arc<BTreeMap<Key, Stored>>,
    /// What they mean.
    pub model: Arc<Model>,
    /// When the change was noticed that made the revision, in milliseconds since 1970; 0 for what a process starts with.
    pub edited: u64,
    /// When it came into force, in the same measure.
    pub since: u64,
    /// What the change is part of that made the revision.
    pub cause: Parent,
}

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its YAML as it was written, with the comments in it and before it.
    pub text: Arc<str>,
    /// The revision that last changed it: its entity tag.
    pub revision: u64,
}

impl Stored {
    /// The document as JSON: `apiVersion`, `kind`, `metadata` and `spec` as they were written, defaults not filled in.
    pub fn value(&self) -> Value {
        crate::document::json(&self.text).unwrap_or_default()
    }
}
