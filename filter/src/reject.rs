//! Answering a request in the upstream's place.

use spillway_policy::engine::{Limits, Reject};

use crate::host::{Host, LocalResponse, Refused};

/// The response header that names the rule.
pub(crate) const REJECTED_BY: &str = "x-spillway-rejected-by";

/// Leaves the parts of a reject where the tags of the request's span are taken from. The request is answered as well without them.
pub(crate) fn tag<H: Host>(host: &H, reject: &Reject<'_>) {
    let Reject { kind, policy, rule, .. } = *reject;
    let parts = [
        ("spillway_kind", kind.as_str()),
        ("spillway_policy", policy),
        ("spillway_rule", rule),
        // What viewers of traces colour. A span's own status says nothing of answers 4xx.
        ("spillway_error", "true"),
    ];
    for (name, value) in parts {
        host.set_property(name, value.as_bytes()).ok();
    }
}

/// Answers the current request, saying which rule refused it, with the rule's own body and headers if it has some. Envoy gives a gRPC request a gRPC answer.
pub(crate) fn send<H: Host>(
    host: &H,
    reject: &Reject<'_>,
    limits: Option<Limits<'_>>,
) -> Result<(), Refused> {
    let Reject { kind, status, grpc_status, retry_after_secs, body, headers: own, .. } = *reject;
    let message = format!("rejected by {reject}");
    let rejected_by = message.strip_prefix("rejected by ").unwrap_or_default();
    // For the access log; the answer is as good without it.
    host.set_property("spillway_decision", rejected_by.as_bytes()).ok();
    let retry_after = retry_after_secs.to_string();
    let mut headers = vec![(REJECTED_BY, rejected_by), ("retry-after", retry_after.as_str())];
    if let Some(Limits { rate_limit, policy }) = limits {
        headers.extend([("ratelimit", rate_limit), ("ratelimit-policy", policy)]);
    }
    headers.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    host.send_local_response(&LocalResponse {
        status,
        details: kind.detail(),
        body: body.unwrap_or(&message),
        headers: &headers,
        grpc_status,
    })
}
