//! One configuration at work: what the filter asks about every request.
//!
//! An [`Engine`] is a compiled [`Configuration`] and the little state that one worker keeps for itself. Everything that workers must agree
//! on is in the [`Store`], under the names of policy and rule: a new engine with a changed configuration finds it there.
//!
//! The filter calls [`Engine::decide`] once for each request, [`Engine::complete`] once for each request that was admitted (when it is
//! over, however it ended), and [`Engine::tick`] from time to time. Time is always an argument: nanoseconds of a monotonic clock that all workers
//! share. It may run backwards a little, as two workers' readings do.

use std::borrow::Cow;
use std::rc::Rc;

use crate::config::Configuration;
use crate::store::Store;

pub use crate::config::ConfigError;

/// What the engine may ask about a request. Each answer may cost a call to the host, so the engine asks only for what the
/// policies that apply need ([`Engine::needs`] says what that can be), and for each thing at most once a request.
///
/// Answers are bytes: nothing here is assumed to be UTF-8. `None` is "there is none".
pub trait Request {
    /// A request header's value by its lower-case name; several values as the host joins them.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// `:path`, with the query if there is one.
    fn path(&self) -> Option<Cow<'_, [u8]>>;
    /// The name of the route that the proxy chose (`xds.route_name`).
    fn route_name(&self) -> Option<Cow<'_, [u8]>>;
    /// The name of the filter chain that accepted the connection (`xds.filter_chain_name`).
    fn filter_chain(&self) -> Option<Cow<'_, [u8]>>;
    /// The cluster that the route leads to (`xds.cluster_name`), which is the Backend's name.
    fn backend(&self) -> Option<Cow<'_, [u8]>>;
    /// The client's address as text, with or without port: `192.0.2.1:4242`, `[2001:db8::1]:4242`, `2001:db8::1`.
    fn client_address(&self) -> Option<Cow<'_, [u8]>>;
}

/// What an engine's configuration can make it ask, and whether it wants to hear how requests end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The headers, by lower-case name.
    pub headers: Vec<Rc<str>>,
    /// The path.
    pub path: bool,
    /// The route's name.
    pub route_name: bool,
    /// The filter chain's name.
    pub filter_chain: bool,
    /// The backend.
    pub backend: bool,
    /// The client's address.
    pub client_address: bool,
    /// Whether [`Engine::complete`] does anything for any admission.
    pub outcomes: bool,
}

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
pub struct Admission {}

impl Admission {
    /// Whether the request probes a half-open breaker. A probe is one attempt: send it without retries.
    pub fn is_probe(&self) -> bool {
        false
    }

    /// Whether anything wants to hear how the request ended; if not, [`Engine::complete`] need not be called.
    pub fn is_watched(&self) -> bool {
        false
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

/// A compiled configuration and one worker's own state.
#[derive(Debug)]
pub struct Engine {
    needs: Needs,
    transitions: Vec<Transition>,
    store_failures: u64,
}

impl Engine {
    /// Compiles a configuration, or says everything that is wrong with it. Touches no store: an engine may be built only to see whether it can be.
    pub fn new(_configuration: Configuration) -> Result<Self, ConfigError> {
        Ok(Self { needs: Needs::default(), transitions: Vec::new(), store_failures: 0 })
    }

    /// What [`Engine::decide`] may ask.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Whether a request passes.
    pub fn decide<R, S>(&mut self, _request: &R, _store: &mut S, _now_ns: u64) -> Decision<'_>
    where
        R: Request + ?Sized,
        S: Store + ?Sized,
    {
        Decision { key: None, verdict: Verdict::Admit(Admission {}) }
    }

    /// Takes note of how an admitted request ended. An admission that is dropped instead does no lasting harm: a lost probe's ticket expires.
    pub fn complete<S>(&mut self, _admission: Admission, _outcome: Outcome, _store: &mut S, _now_ns: u64)
    where
        S: Store + ?Sized,
    {
    }

    /// Brings what this worker holds back to the store where it is due: unused leased tokens, counted outcomes. Call it every few tens of milliseconds
    /// in every worker; nothing becomes wrong without it, but what an idle worker holds stays unseen until its next request.
    pub fn tick<S>(&mut self, _store: &mut S, _now_ns: u64)
    where
        S: Store + ?Sized,
    {
    }

    /// Brings everything back at once: the engine is about to be replaced or dropped. It can still complete what it admitted.
    pub fn retire<S>(&mut self, _store: &mut S, _now_ns: u64)
    where
        S: Store + ?Sized,
    {
    }

    /// The breakers' changes since the last call, oldest first. [`Engine::decide`], [`Engine::complete`], [`Engine::tick`] and [`Engine::retire`] can make some.
    pub fn take_transitions(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.transitions)
    }

    /// How often the store did not answer, or went on conflicting, so that a rule was passed over. Only grows.
    pub const fn store_failures(&self) -> u64 {
        self.store_failures
    }
}
