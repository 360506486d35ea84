//! What a rule does to a request that it would not let pass.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PathSegment::Field;
use super::{PathSegment, Problem};
use crate::header::{is_header_name, is_header_value};

/// Whether a rule rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It only counts and reports what it would have rejected.
    Shadow,
}

impl Mode {
    /// For `skip_serializing_if`.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(crate) const fn is_enforce(&self) -> bool {
        matches!(self, Self::Enforce)
    }
}

/// What happens to a request when the shared store does not answer a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// It passes this rule.
    #[default]
    Allow,
    /// It is rejected.
    Deny,
}

impl OnFailure {
    /// For `skip_serializing_if`.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(crate) const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// What a rejected client is told. A gRPC client gets the gRPC status of the kind of rule, whatever `status` is, and the body as its message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Response {
    /// 200 to 599; 429 for rate limits and 503 for the others where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 200, max = 599)))]
    pub status: Option<u16>,
    /// A line that names the rule where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `text/plain` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Headers besides those that every reject has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Headers that the filter or the proxy sets itself.
const RESERVED: [&str; 5] =
    ["content-length", "content-type", "retry-after", "transfer-encoding", "connection"];

/// The largest body: it is kept by every worker and comes with every configuration.
const MAX_BODY: usize = 16 << 10;

impl Response {
    /// Everything that is wrong with it, with paths from the response.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let Self { status, body, content_type, headers } = self;
        let mut problems = Vec::new();
        let mut add =
            |place: PathSegment, message: String| problems.push(Problem { path: vec![place], message });
        if let Some(status) = status.filter(|status| !(200..=599).contains(status)) {
            add(Field("status"), format!("expected a status from 200 to 599, found {status}"));
        }
        if let Some(body) = body.as_ref().filter(|body| body.len() > MAX_BODY) {
            add(Field("body"), format!("at most {MAX_BODY} bytes, found {}", body.len()));
        }
        if let Some(content_type) = content_type.as_ref().filter(|value| !is_visible(value)) {
            add(
                Field("contentType"),
                format!("expected a content type such as application/json, found {content_type:?}"),
            );
        }
        for (name, value) in headers {
            let lower = name.to_ascii_lowercase();
            if !is_header_name(name) || lower.starts_with("x-spillway-") || RESERVED.contains(&lower.as_str())
            {
                add(Field("headers"), format!("{name:?} can't be set here"));
            }
            if !is_visible(value) {
                add(
                    Field("headers"),
                    format!("expected printable characters as the value of {name:?}, found {value:?}"),
                );
            }
        }
        problems
    }
}

/// Whether this can be a value, and is one.
fn is_visible(value: &str) -> bool {
    !value.is_empty() && is_header_value(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_response_can_be_is_refused_with_its_place() {
        let problems = |json: &str| -> Vec<String> {
            let response: Response = serde_json::from_str(json).unwrap();
            response.problems().iter().map(ToString::to_string).collect()
        };
        let all = r#"{"status":429,"body":"{}","contentType":"application/json","headers":{"x-a":"b"}}"#;
        assert_eq!(problems(all), [""; 0]);
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Response>(all).unwrap()).unwrap(), all);
        for (json, place) in [
            (r#"{"status": 199}"#, "status: "),
            (r#"{"status": 600}"#, "status: "),
            (r#"{"contentType": ""}"#, "contentType: "),
            (r#"{"headers": {"x b": "1"}}"#, "headers: "),
            (r#"{"headers": {"X-Spillway-Rejected-By": "1"}}"#, "headers: "),
            (r#"{"headers": {":status": "200"}}"#, "headers: "),
            (r#"{"headers": {"Content-Length": "1"}}"#, "headers: "),
            (r#"{"headers": {"x-a": "1\r\nx-b: 2"}}"#, "headers: "),
        ] {
            let problems = problems(json);
            assert!(problems.len() == 1 && problems[0].starts_with(place), "{json}: {problems:?}");
        }
        assert_eq!(problems(&format!(r#"{{"body": "{}"}}"#, "x".repeat(MAX_BODY + 1))).len(), 1);
    }
}
