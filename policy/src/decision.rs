//! What the engine says about a request, and what it is told about its end.

mod admission;

use std::rc::Rc;

use crate::config::Failures;
use crate::reaction::Reaction;

pub use self::admission::Admission;

/// What to do with a request, and the route key for whoever wants it.
#[derive(Debug)]
pub struct Decision<'e> {
    /// The route key, where a policy that applies has one and the request gives it. Any bytes, at most 256.
    ///
    /// For the proxy to hash on it, whoever asks shows it as the filter state `wasm.spillway_key`; the route writes `x-route-key` from that (`request_headers_to_add`), and a
    /// `hash_policy` on this header sees what was written. A `hash_policy.filter_state` on `wasm.*` silently does not hash: it needs the key once more, as an
    /// `envoy.hashable_string` by the foreign function `set_envoy_filter_state`.
    pub key: Option<&'e [u8]>,
    /// Whether the request passes.
    pub verdict: Verdict<'e>,
    /// What rules in shadow mode would have rejected. Empty, without heap, for most requests.
    pub shadowed: Vec<Reject<'e>>,
    /// What the client is to be told of its limits, where a rule tells it.
    pub limits: Option<Limits<'e>>,
}

/// The values of two response headers, after
/// [draft-ietf-httpapi-ratelimit-headers](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/): they are true as long as nobody else takes from the
/// same buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits<'e> {
    /// `RateLimit`: what is left (`r`) and after how many seconds there is more (`t`).
    pub rate_limit: &'e str,
    /// `RateLimit-Policy`: how much a full bucket holds (`q`) and in how many seconds an empty one fills (`w`).
    pub policy: &'e str,
}

/// Whether a request passes.
#[derive(Debug)]
pub enum Verdict<'e> {
    /// It passes. Keep the admission until the request is over and give it to [`Engine::complete`] of the same engine.
    Admit(Admission),
    /// It is answered here. There is nothing to complete.
    Reject(Reject<'e>),
}

/// Why a request is answered here, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject<'e> {
    /// The kind of rule.
    pub kind: Kind,
    /// The policy's name.
    pub policy: &'e str,
    /// The rule's name, unique in the policy.
    pub rule: &'e str,
    /// The request's priority; only where that was asked, for a degrade rule.
    pub level: Option<&'e str>,
    /// The HTTP status.
    pub status: u16,
    /// The gRPC status, for requests whose content type says gRPC.
    pub grpc_status: u32,
    /// After how many seconds a retry can succeed, if nobody else comes; rounded up, at least 1.
    pub retry_after_secs: u64,
    /// The rule's own body, if it has one.
    pub body: Option<&'e str>,
    /// The rule's own headers, names in lower case.
    pub headers: &'e [(String, String)],
}

/// The kinds of rule that can reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A token bucket is empty.
    RateLimit,
    /// A circuit breaker is open.
    CircuitBreaker,
    /// As many requests are in flight as may be.
    Concurrency,
    /// There is pressure, and the request is among those that are given up first.
    Degrade,
}

impl Kind {
    /// As in headers and metrics: `rate-limit` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate-limit",
            Self::CircuitBreaker => "circuit-breaker",
            Self::Concurrency => "concurrency",
            Self::Degrade => "degrade",
        }
    }

    /// The response code detail: `spillway_rate_limit` and so on.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::RateLimit => "spillway_rate_limit",
            Self::CircuitBreaker => "spillway_circuit_breaker",
            Self::Concurrency => "spillway_concurrency",
            Self::Degrade => "spillway_degrade",
        }
    }
}

/// How an admitted request ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The HTTP status that the client got; `None` where it got none.
    pub status: Option<u16>,
    /// The gRPC status of the response; only where its content type says gRPC.
    pub grpc_status: Option<u32>,
    /// The upstream failed without an answer of its own, or in the middle of one: connection refused or reset, timeout.
    pub reset: bool,
    /// The client went away first: nothing is known about the upstream, so this is no outcome.
    pub client_gone: bool,
    /// How long the upstream took to begin its answer, in nanoseconds; where it is `None`, the time since the admission is taken.
    pub latency: Option<u64>,
}

impl Outcome {
    /// Whether the upstream failed; `None`: nobody knows.
    pub(crate) fn failed(&self, failures: &Failures) -> Option<bool> {
        let Self { status, grpc_status, reset, client_gone, latency: _ } = *self;
        if client_gone || (status.is_none() && grpc_status.is_none() && !reset) {
            return None;
        }
        let by_status = status.is_some_and(|status| failures.statuses.iter().any(|one| one.contains(status)));
        let by_grpc =
            grpc_status.is_some_and(|code| failures.grpc_statuses.iter().any(|one| one.code() == code));
        Some((reset && failures.resets) || by_status || by_grpc)
    }
}

/// A breaker's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Requests pass and their outcomes are counted.
    Closed,
    /// Requests are rejected.
    Open,
    /// So many requests pass as there are probes.
    HalfOpen,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// As in metrics: `closed`, `open`, `half-open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A breaker changed its state, and this engine's worker was the one that changed it: each change is reported once in a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The policy's name.
    pub policy: Rc<str>,
    /// The rule's name.
    pub rule: Rc<str>,
    /// The new state.
    pub to: BreakerState,
}

/// `<kind>/<policy>/<rule>`.
impl std::fmt::Display for Reject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, policy, rule, .. } = self;
        write!(f, "{}/{policy}/{rule}", kind.as_str())
    }
}

impl<'e> Reject<'e> {
    /// After so many nanoseconds a retry can succeed.
    pub(crate) fn new(
        kind: Kind,
        policy: &'e str,
        rule: &'e str,
        wait: u64,
        reaction: Option<&'e Reaction>,
    ) -> Self {
        let (status, grpc_status) = match kind {
            // RESOURCE_EXHAUSTED
            Kind::RateLimit => (429, 8),
            // UNAVAILABLE
            Kind::CircuitBreaker | Kind::Concurrency | Kind::Degrade => (503, 14),
        };
        let answer = reaction.and_then(|reaction| reaction.response.as_ref());
        Self {
            kind,
            policy,
            rule,
            level: None,
            status: answer.and_then(|answer| answer.status).unwrap_or(status),
            grpc_status,
            retry_after_secs: wait.div_ceil(1_000_000_000).max(1),
            body: answer.and_then(|answer| answer.body.as_deref()),
            headers: answer.map(|answer| answer.headers.as_slice()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_the_upstream_s() {
        let http = |status| Outcome { status: Some(status), ..Outcome::default() };
        let grpc = |code| Outcome { grpc_status: Some(code), ..http(200) };
        let reset = Outcome { reset: true, ..Outcome::default() };
        for failure in [http(500), http(503), http(599), reset, Outcome { reset: true, ..http(200) }] {
            assert_eq!(failure.failed(&Failures::default()), Some(true), "{failure:?}");
        }
        for success in [http(200), http(101), http(404), http(429), http(499), http(600)] {
            assert_eq!(success.failed(&Failures::default()), Some(false), "{success:?}");
        }
        let failures: Vec<u32> =
            (0..=16).filter(|code| grpc(*code).failed(&Failures::default()) == Some(true)).collect();
        assert_eq!(failures, [2, 4, 13, 14, 15]);
    }

    #[test]
    fn a_client_that_went_away_is_no_outcome() {
        let gone = Outcome { client_gone: true, ..Outcome::default() };
        for outcome in
            [gone, Outcome { status: Some(503), ..gone }, Outcome { reset: true, ..gone }, Outcome::default()]
        {
            assert_eq!(outcome.failed(&Failures::default()), None, "{outcome:?}");
        }
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up_and_never_none() {
        let after = |wait| Reject::new(Kind::RateLimit, "p", "r", wait, None).retry_after_secs;
        assert_eq!([0, 1, 1_000_000_000, 1_000_000_001, 3_600_000_000_000].map(after), [1, 1, 1, 2, 3600]);
    }
}
