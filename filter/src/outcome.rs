//! How a stream ended, from what Envoy knows when it logs it.

use spillway_policy::engine::Outcome;

use crate::host::{HeaderMap, Headers, Host};

/// Envoy's response flags, one bit each, as
/// [`%RESPONSE_FLAGS%`](https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators)
/// names them.
mod flag {
    pub(super) const UT: u64 = 1 << 2;
    pub(super) const LR: u64 = 1 << 3;
    pub(super) const UR: u64 = 1 << 4;
    pub(super) const UF: u64 = 1 << 5;
    pub(super) const UC: u64 = 1 << 6;
    pub(super) const UMSDR: u64 = 1 << 19;
    pub(super) const UPE: u64 = 1 << 23;
}

/// The upstream gave no answer, or stopped in the middle of one: timeout, reset on either side of that connection, connection failed or lost, the
/// stream's or the attempt's time is up, protocol error.
const RESETS: u64 = flag::UT | flag::LR | flag::UR | flag::UF | flag::UC | flag::UMSDR | flag::UPE;

/// After this status a reset is the ordinary end of the connection that it began.
const SWITCHING_PROTOCOLS: u16 = 101;

/// Reads the current stream's outcome. `timed` asks for the latency too; `may_be_grpc` saves the question after the content type: a gRPC request always has a body.
pub(crate) fn read<H: Host>(host: &H, may_be_grpc: bool, timed: bool) -> Outcome {
    let headers = if may_be_grpc { host.headers(HeaderMap::Response).ok() } else { None };
    let status = match &headers {
        Some(headers) => headers.get(":status").and_then(number),
        None => host.header(HeaderMap::Response, ":status").ok().as_deref().and_then(number),
    };
    let flags = host
        .property("response\0flags")
        .ok()
        .and_then(|bytes| Some(u64::from_le_bytes(*bytes.first_chunk()?)));
    let reset = flags.is_some_and(|flags| flags & RESETS != 0) && status != Some(SWITCHING_PROTOCOLS);
    let grpc = headers.filter(is_grpc);
    let grpc_status = grpc.as_ref().and_then(|headers| grpc_status(host, headers));
    // Without an answer and without a failure it was the client that went away: after asking, or, where the answer comes in trailers, before those came.
    let unanswered = status.is_none() || (grpc.is_some() && grpc_status.is_none());
    let latency = if timed { number_attribute(host, "response\0backend_latency") } else { None };
    Outcome { status, grpc_status, reset, client_gone: unanswered && !reset, latency }
}

/// How an answer has begun whose end is not in sight; `None` if it has not.
pub(crate) fn read_beginning<H: Host>(host: &H) -> Option<Outcome> {
    let status = number_attribute(host, "response\0code").and_then(|code| u16::try_from(code).ok())?;
    Some(Outcome { status: Some(status), ..Outcome::default() })
}

/// An attribute that is a number.
fn number_attribute<H: Host>(host: &H, path: &str) -> Option<u64> {
    host.property(path).ok().and_then(|bytes| Some(u64::from_le_bytes(*bytes.first_chunk()?)))
}

fn is_grpc(headers: &Headers) -> bool {
    let rest = headers.get("content-type").and_then(|value| value.strip_prefix(b"application/grpc"));
    // `application/grpc-web` is something else, as is anything that merely begins alike.
    rest.is_some_and(|rest| rest.first().is_none_or(|next| matches!(next, b'+' | b';' | b' ')))
}

/// From the trailers, or, in a response without a body, from the headers.
fn grpc_status<H: Host>(host: &H, headers: &Headers) -> Option<u32> {
    const NAME: &str = "grpc-status";
    match headers.get(NAME) {
        Some(value) => number(value),
        None => host.header(HeaderMap::ResponseTrailers, NAME).ok().as_deref().and_then(number),
    }
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;

    fn outcome(status: &[u8], flags: u64) -> Outcome {
        let host = Fake::default();
        host.response(&[(":status", status)]);
        host.attribute("response\0flags", &flags.to_le_bytes());
        read(&host, false, false)
    }

    #[test]
    fn an_answer_is_its_status() {
        let expected =
            Outcome { status: Some(503), grpc_status: None, reset: false, client_gone: false, latency: None };
        assert_eq!(outcome(b"503", 0), expected);
    }

    #[test]
    fn an_upstream_that_breaks_off_is_a_reset_except_after_an_upgrade() {
        assert!(outcome(b"200", flag::UR).reset);
        assert!(outcome(b"503", flag::UF).reset);
        assert!(outcome(b"504", flag::UT).reset);
        assert!(!outcome(b"101", flag::UR).reset);
        let (no_route, client_gone) = (1 << 8, 1 << 14);
        assert!(!outcome(b"404", no_route).reset);
        assert!(!outcome(b"200", client_gone).reset);
    }

    #[test]
    fn a_client_that_goes_first_is_no_answer_and_no_reset() {
        let host = Fake::default();
        let gone = Outcome { client_gone: true, ..Outcome::default() };
        assert_eq!(read(&host, false, false), gone);
        assert_eq!(read(&host, true, false), gone);
        host.attribute("response\0flags", &flag::UC.to_le_bytes());
        assert_eq!(read(&host, false, false), Outcome { reset: true, ..Outcome::default() });
        host.attribute("response\0flags", b"short");
        assert_eq!(read(&host, false, false), gone);
    }

    #[test]
    fn the_grpc_status_comes_from_trailers_or_headers_of_grpc_only() {
        let host = Fake::default();
        let ok = (":status", &b"200"[..]);
        host.response_trailers(&[("grpc-status", b"14")]);
        host.response(&[ok, ("content-type", b"application/json")]);
        assert_eq!(read(&host, true, false).grpc_status, None);
        host.response(&[ok, ("content-type", b"application/grpc-web")]);
        assert_eq!(read(&host, true, false).grpc_status, None);
        host.response(&[ok, ("content-type", b"application/grpc+proto")]);
        assert_eq!(read(&host, true, false).grpc_status, Some(14));
        host.response(&[ok, ("content-type", b"application/grpc"), ("grpc-status", b"0")]);
        assert_eq!(read(&host, true, false).grpc_status, Some(0));
        assert_eq!(read(&host, false, false).grpc_status, None, "a request without a body");
    }

    #[test]
    fn a_grpc_client_that_leaves_in_the_middle_is_no_outcome() {
        let host = Fake::default();
        host.response(&[(":status", b"200"), ("content-type", b"application/grpc")]);
        assert!(read(&host, true, false).client_gone);
    }
}
