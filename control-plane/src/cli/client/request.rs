//! What is asked of the server.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde::Serialize;

/// What a request carries.
#[derive(Debug, Default)]
pub(in crate::cli) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Bytes>,
    pub(super) traceparent: Option<HeaderValue>,
}

impl Request {
    /// A request for a path below `/api/v1/`, which may have a query already.
    pub(in crate::cli) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, traceparent: None }
    }

    /// With one more parameter in its query.
    pub(in crate::cli) fn query(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        // Writing to a String does not fail.
        let _ = write!(self.path, "{name}={}", escaped(value));
        self
    }

    /// As part of a trace.
    pub(in crate::cli) fn part_of(self, traceparent: Option<HeaderValue>) -> Self {
        Self { traceparent, ..self }
    }

    /// With a body of JSON.
    pub(in crate::cli) fn json(mut self, body: &impl Serialize) -> anyhow::Result<Self> {
        self.body = Some(serde_json::to_vec(body)?.into());
        Ok(self)
    }
}

/// A name as part of a path or a query.
pub(in crate::cli) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
