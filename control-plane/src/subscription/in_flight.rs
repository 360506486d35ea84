//! Responses that have been sent and not been answered.

use std::collections::VecDeque;

use super::Draft;
use crate::snapshot::{Name, Version};

/// More answers than this without an acknowledgement, and even what a client asks for waits. It bounds what is remembered about a
/// client that never acknowledges.
const MAX: usize = 8;

/// Responses without an answer, oldest first, and the nonce of the last one sent.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    responses: VecDeque<Sent>,
    last_nonce: Option<String>,
}

/// One response.
#[derive(Debug)]
pub(super) struct Sent {
    nonce: String,
    /// The response's version.
    pub(super) version: Version,
    /// What it said: a version, or that there is no such resource.
    pub(super) contents: Vec<(Name, Option<Version>)>,
}

impl InFlight {
    /// Records that a draft was sent under `nonce`.
    pub(super) fn push(&mut self, draft: &Draft, nonce: &str) {
        let sent = draft.resources.iter().map(|r| (r.name().clone(), Some(r.version().clone())));
        let removed = draft.removed.iter().map(|name| (name.clone(), None));
        let contents = sent.chain(removed).collect();
        self.responses.push_back(Sent { nonce: nonce.to_owned(), version: draft.version.clone(), contents });
        self.last_nonce = Some(nonce.to_owned());
    }

    /// Takes the response that `nonce` answers. The stream keeps order, so whoever answers a later response has seen the earlier ones.
    pub(super) fn take(&mut self, nonce: &str) -> Option<Sent> {
        let position = self.responses.iter().position(|response| response.nonce == nonce)?;
        let taken = self.responses.drain(..=position).next_back();
        if self.responses.is_empty() {
            // Most of the time nothing is: of ten thousand streams, hardly any keeps room for something.
            self.responses = VecDeque::new();
        }
        taken
    }

    /// Whether nothing was sent yet.
    pub(super) fn is_first(&self) -> bool {
        self.last_nonce.is_none()
    }

    /// Whether everything has been answered.
    pub(super) fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    /// Whether nothing more may be sent before something is answered.
    pub(super) fn is_full(&self) -> bool {
        self.responses.len() >= MAX
    }

    /// Whether `nonce` is that of the response sent last; before the first response any is.
    pub(super) fn is_current(&self, nonce: &str) -> bool {
        self.last_nonce.as_deref().is_none_or(|last| last == nonce)
    }

    /// Whether something was sent, all of it is answered, and `nonce` answers the last of it once more.
    pub(super) fn is_repeated(&self, nonce: &str) -> bool {
        self.is_empty() && self.last_nonce.as_deref() == Some(nonce)
    }
}
