//! A route as it will stand in a virtual host, made once for as long as its document and its listener stay.

use prost::Message;

use super::precedence::{Precedence, precedence};
use super::tree::Reach;
use super::{candidates_of, route};
use crate::document::kind::Listener;
use crate::model::Attachment;

/// One match of one rule in Envoy's words, as bytes, and what decides where it stands among others.
#[derive(Debug)]
pub struct Entry {
    pub(super) precedence: Precedence,
    pub(super) reach: Reach,
    pub(super) bytes: Box<[u8]>,
}

/// Everything that a listener gets of a route, as written.
pub fn entries(listener: &Listener, attachment: &Attachment<'_>) -> Vec<Entry> {
    let entry = |candidate| {
        let route = route(listener, &candidate);
        Entry {
            precedence: precedence(&candidate.condition),
            reach: Reach::of(&route),
            bytes: route.encode_to_vec().into(),
        }
    };
    candidates_of(attachment).map(entry).collect()
}
