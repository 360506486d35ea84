//! What the engine says about a request, and what it is told about its end.

use std::rc::Rc;

use crate::circuit_breaker::Watch;

/// What to do with a request, and the route key for whoever wants it.
#[derive(Debug)]
pub struct Decision<'e> {
    /// The route key, where a policy that applies has one and the request gives it. Any bytes, at most 256.
    pub key: Option<&'e [u8]>,
    /// Whether the request passes.
    pub verdict: Verdict<'e>,
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
    /// The HTTP status.
    pub status: u16,
    /// The gRPC status, for requests whose content type says gRPC.
    pub grpc_status: u32,
    /// After how many seconds a retry can succeed, if nobody else comes; rounded up, at least 1.
    pub retry_after_secs: u64,
}

/// The kinds of rule that can reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A token bucket is empty.
    RateLimit,
    /// A circuit breaker is open.
    CircuitBreaker,
}

impl Kind {
    /// As in headers and metrics: `rate-limit`, `circuit-breaker`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate-limit",
            Self::CircuitBreaker => "circuit-breaker",
        }
    }

    /// The response code detail: `spillway_rate_limit`, `spillway_circuit_breaker`.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::RateLimit => "spillway_rate_limit",
            Self::CircuitBreaker => "spillway_circuit_breaker",
        }
    }
}

/// What the engine must remember of an admitted request. Costs no heap unless more than one breaker watches the request.
#[derive(Debug, Default)]
pub struct Admission {
    first: Option<(u32, Watch)>,
    more: Vec<(u32, Watch)>,
}

impl Admission {
    /// Whether the request probes a half-open breaker. A probe is one attempt: send it without retries.
    pub fn is_probe(&self) -> bool {
        self.watches().any(|(_, watch)| watch.is_probe())
    }

    /// Whether anything wants to hear how the request ended; if not, [`Engine::complete`] need not be called.
    pub fn is_watched(&self) -> bool {
        self.first.is_some()
    }

    /// Has a breaker, by its number, hear of the end, if it wants to.
    pub(crate) fn add(&mut self, breaker: u32, watch: Option<Watch>) {
        let Some(watch) = watch else { return };
        if self.first.is_none() {
            self.first = Some((breaker, watch));
        } else {
            self.more.push((breaker, watch));
        }
    }

    pub(crate) fn watches(&self) -> impl Iterator<Item = (u32, Watch)> + '_ {
        self.first.iter().chain(&self.more).copied()
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
}

impl Outcome {
    /// Whether the upstream failed; `None`: nobody knows.
    pub(crate) fn failed(&self) -> Option<bool> {
        let Self { status, grpc_status, reset, client_gone } = *self;
        if client_gone || (status.is_none() && grpc_status.is_none() && !reset) {
            return None;
        }
        let by_status = status.is_some_and(|status| (500..600).contains(&status));
        Some(reset || by_status || grpc_status.is_some_and(|code| GRPC_FAILURES.contains(&code)))
    }
}

/// `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`.
const GRPC_FAILURES: [u32; 5] = [2, 4, 13, 14, 15];

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

impl<'e> Reject<'e> {
    /// After so many nanoseconds a retry can succeed.
    pub(crate) fn new(kind: Kind, policy: &'e str, rule: &'e str, wait: u64) -> Self {
        let (status, grpc_status) = match kind {
            // RESOURCE_EXHAUSTED
            Kind::RateLimit => (429, 8),
            // UNAVAILABLE
            Kind::CircuitBreaker => (503, 14),
        };
        Self {
            kind,
            policy,
            rule,
            status,
            grpc_status,
            retry_after_secs: wait.div_ceil(1_000_000_000).max(1),
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
            assert_eq!(failure.failed(), Some(true), "{failure:?}");
        }
        for success in [http(200), http(101), http(404), http(429), http(499), http(600)] {
            assert_eq!(success.failed(), Some(false), "{success:?}");
        }
        let failures: Vec<u32> = (0..=16).filter(|code| grpc(*code).failed() == Some(true)).collect();
        assert_eq!(failures, [2, 4, 13, 14, 15]);
    }

    #[test]
    fn a_client_that_went_away_is_no_outcome() {
        let gone = Outcome { client_gone: true, ..Outcome::default() };
        for outcome in
            [gone, Outcome { status: Some(503), ..gone }, Outcome { reset: true, ..gone }, Outcome::default()]
        {
            assert_eq!(outcome.failed(), None, "{outcome:?}");
        }
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up_and_never_none() {
        let after = |wait| Reject::new(Kind::RateLimit, "p", "r", wait).retry_after_secs;
        assert_eq!([0, 1, 1_000_000_000, 1_000_000_001, 3_600_000_000_000].map(after), [1, 1, 1, 2, 3600]);
    }
}
