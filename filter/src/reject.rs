//! Answering a request in the upstream's place.

use spillway_policy::engine::Reject;

use crate::host::{Host, LocalResponse, Refused};

/// The response header that names the rule.
pub(crate) const REJECTED_BY: &str = "x-spillway-rejected-by";

/// Answers the current request, saying which rule refused it. Envoy gives a gRPC request a gRPC answer.
pub(crate) fn send<H: Host>(host: &H, reject: &Reject<'_>) -> Result<(), Refused> {
    let Reject { kind, policy, rule, status, grpc_status, retry_after_secs } = *reject;
    let message = format!("rejected by {}/{policy}/{rule}", kind.as_str());
    let rejected_by = message.strip_prefix("rejected by ").unwrap_or_default();
    let retry_after = retry_after_secs.to_string();
    host.send_local_response(&LocalResponse {
        status,
        details: kind.detail(),
        body: &message,
        headers: &[(REJECTED_BY, rejected_by), ("retry-after", &retry_after)],
        grpc_status,
    })
}
