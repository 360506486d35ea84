//! What becomes of a request that a rule would not let pass.

use crate::config::{Mode, OnFailure, Response};

/// A rule's compiled reaction.
#[derive(Debug, Default)]
pub(crate) struct Reaction {
    /// It only counts what it would reject.
    pub(crate) is_shadow: bool,
    /// It rejects when the store does not answer.
    pub(crate) denies: bool,
    pub(crate) response: Option<Answer>,
}

/// A rule's own answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<u16>,
    pub(crate) body: Option<String>,
    /// With the content type, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Reaction {
    pub(crate) fn new(mode: Mode, on_failure: OnFailure, response: Option<Response>) -> Self {
        let response = response.map(|Response { status, body, content_type, headers }| {
            let content_type = content_type.map(|value| ("content-type".to_owned(), value));
            let headers = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
            Answer { status, body, headers: content_type.into_iter().chain(headers).collect() }
        });
        Self { is_shadow: mode == Mode::Shadow, denies: on_failure == OnFailure::Deny, response }
    }
}
