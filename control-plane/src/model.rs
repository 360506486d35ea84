//! What a set of documents means, once every reference resolves: the input of everything that is pushed to proxies.
//!
//! A `Model` that exists is valid. It keeps the documents' own types (their fields were checked when they were read) and adds the
//! look-ups that rendering needs; maps are ordered, so that the same documents give the same bytes in every process.

use std::collections::BTreeMap;

use crate::document::kind::{Backend, Gateway, Route, TrafficPolicy};

/// A valid set of documents.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// By name.
    pub gateways: BTreeMap<String, Gateway>,
    /// By name.
    pub routes: BTreeMap<String, Route>,
    /// By name.
    pub backends: BTreeMap<String, Backend>,
    /// By name; the order in which their rules are asked.
    pub policies: BTreeMap<String, TrafficPolicy>,
}
