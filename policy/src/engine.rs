//! One configuration at work: what the filter asks about every request.
//!
//! An [`Engine`] is a compiled [`Configuration`] and the little state that one worker keeps for itself. Everything that workers must agree
//! on is in the [`Store`], under the names of policy and rule: a new engine with a changed configuration finds it there.
//!
//! The filter calls [`Engine::decide`] once for each request, [`Engine::complete`] once for each request that was admitted (when it is
//! over, however it ended), and [`Engine::tick`] from time to time. Time is always an argument: nanoseconds of a monotonic clock that all workers
//! share. It may run backwards a little, as two workers' readings do.

mod ruling;

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use self::ruling::{Keys, Refusal, Ruling};
use crate::asked::{Asked, Thing};
use crate::circuit_breaker::Breaker;
use crate::config::{Configuration, Policy};
use crate::rate_limit::{Claim, RateLimit};
use crate::route_key::RouteKey;
use crate::scope::{Cache, Index};
use crate::store::Store;
use crate::table::{Access, Seed, Slot};

pub use crate::config::ConfigError;
pub use crate::decision::{Admission, BreakerState, Decision, Kind, Outcome, Reject, Transition, Verdict};

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
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
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

/// A compiled configuration and one worker's own state.
#[derive(Debug)]
pub struct Engine {
    needs: Needs,
    index: Index,
    plans: Cache<Plan>,
    policies: Vec<PolicyRules>,
    breakers: Vec<Breaker>,
    limits: Vec<RateLimit>,
    /// When this worker first used it.
    since: Option<u64>,
    seed: Option<Seed>,
    asked: Asked,
    scratch: Scratch,
    transitions: Vec<Transition>,
    store_failures: u64,
}

/// A policy's rules, by their numbers in the engine.
#[derive(Debug)]
struct PolicyRules {
    route_key: Option<RouteKey>,
    breakers: Range<u32>,
    limits: Range<u32>,
}

/// What is asked for requests of one route, in order.
#[derive(Debug)]
struct Plan {
    /// The policy whose route key it is.
    route_key: Option<u32>,
    breakers: Vec<u32>,
    limits: Vec<u32>,
}

/// Buffers that are used again for each request, so that a decision allocates nothing.
#[derive(Debug, Default)]
struct Scratch {
    route_key: Vec<u8>,
    key: Vec<u8>,
    record: Vec<u8>,
    claims: Vec<Claim>,
    probes: Vec<(u32, Slot)>,
}

impl Engine {
    /// Compiles a configuration, or says everything that is wrong with it. Touches no store: an engine may be built only to see whether it can be.
    /// It comes into force with its first [`Engine::decide`] or [`Engine::tick`]; time until then counts at the rates of its predecessor.
    pub fn new(configuration: Configuration) -> Result<Self, ConfigError> {
        let problems = configuration.problems();
        if !problems.is_empty() {
            return Err(ConfigError::Problems(problems));
        }
        let Configuration { revision, policies } = configuration;
        let index = Index::new(&policies);
        let mut needs =
            Needs { route_name: index.needs_route(), filter_chain: index.needs_chain(), ..Needs::default() };
        let (mut breakers, mut limits) = (Vec::new(), Vec::new());
        let mut compiled = Vec::with_capacity(policies.len());
        for policy in policies {
            let Policy { name, applies_to: _, route_key, rate_limits, circuit_breakers } = policy;
            let name: Rc<str> = Rc::from(name.as_str());
            let first = (number(breakers.len()), number(limits.len()));
            for rule in circuit_breakers {
                breakers.push(Breaker::new(Rc::clone(&name), rule, &mut needs));
            }
            for rule in rate_limits {
                limits.push(RateLimit::new(Rc::clone(&name), rule, revision, &mut needs));
            }
            compiled.push(PolicyRules {
                route_key: (!route_key.is_empty()).then(|| RouteKey::compile(&route_key, &mut needs)),
                breakers: first.0..number(breakers.len()),
                limits: first.1..number(limits.len()),
            });
        }
        needs.outcomes = !breakers.is_empty();
        Ok(Self {
            needs,
            index,
            plans: Cache::default(),
            policies: compiled,
            breakers,
            limits,
            since: None,
            seed: None,
            asked: Asked::default(),
            scratch: Scratch::default(),
            transitions: Vec::new(),
            store_failures: 0,
        })
    }

    /// What [`Engine::decide`] may ask.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Whether a request passes.
    ///
    /// Breakers are asked before limits, so that what is not sent anyway takes no tokens; probes' tickets are taken last, and if there is none left after all, the tokens go
    /// back. Where several rules of a kind reject, the one with the longest wait is named, because a retry before that is in vain. A rule for which the store does not answer lets
    /// the request pass.
    pub fn decide<R, S>(&mut self, request: &R, store: &mut S, now_ns: u64) -> Decision<'_>
    where
        R: Request + ?Sized,
        S: Store + ?Sized,
    {
        self.asked.begin();
        let plan = self.plan(request);
        let Self { needs, asked, scratch, policies, .. } = self;
        let route_key = plan.route_key.and_then(|policy| policies.get(policy as usize)?.route_key.as_ref());
        let key = &mut scratch.route_key;
        key.clear();
        let has_key = route_key.is_some_and(|route_key| route_key.extract(request, needs, asked, key));

        let verdict = match self.rule(&plan, request, store, now_ns) {
            Ok(admission) => Verdict::Admit(admission),
            Err(Refusal { kind, rule, wait }) => {
                let (policy, rule) = self.name(kind, rule);
                Verdict::Reject(Reject::new(kind, policy, rule, wait))
            }
        };
        Decision { key: has_key.then_some(self.scratch.route_key.as_slice()), verdict }
    }

    /// What applies to the request.
    fn plan<R: Request + ?Sized>(&mut self, request: &R) -> Rc<Plan> {
        let Self { needs, asked, plans, index, policies, .. } = self;
        plans.begin();
        if needs.filter_chain {
            plans.name(asked.get(Thing::FilterChain, needs, request));
        }
        if needs.route_name {
            plans.name(asked.get(Thing::RouteName, needs, request));
        }
        if let Some(plan) = plans.get() {
            return plan;
        }
        let has_route_key =
            |policy| policies.get(policy as usize).is_some_and(|rules| rules.route_key.is_some());
        let chain = if needs.filter_chain { asked.get(Thing::FilterChain, needs, request) } else { None };
        let chain = chain.map(<[u8]>::to_vec);
        let route = if needs.route_name { asked.get(Thing::RouteName, needs, request) } else { None };
        let applying = index.find(route, chain.as_deref(), has_route_key);
        let rules = || applying.policies.iter().filter_map(|policy| policies.get(*policy as usize));
        plans.insert(Plan {
            route_key: applying.route_key,
            breakers: rules().flat_map(|rules| rules.breakers.clone()).collect(),
            limits: rules().flat_map(|rules| rules.limits.clone()).collect(),
        })
    }

    fn rule<R, S>(&mut self, plan: &Plan, request: &R, store: &mut S, now: u64) -> Result<Admission, Refusal>
    where
        R: Request + ?Sized,
        S: Store + ?Sized,
    {
        let since = *self.since.get_or_insert(now);
        let Self { needs, asked, seed, breakers, limits, transitions, store_failures, .. } = self;
        let Scratch { route_key, key, record, claims, probes } = &mut self.scratch;
        let keys = Keys { request, needs, asked, route_key, key, seed };
        let access = Access { store, bytes: record, transitions, now, since };
        Ruling { keys, breakers, limits, access, store_failures }.decide(plan, claims, probes)
    }

    fn name(&self, kind: Kind, rule: u32) -> (&str, &str) {
        let rule = rule as usize;
        let names = match kind {
            Kind::RateLimit => self.limits.get(rule).map(|limit| (&limit.policy, &limit.rule)),
            Kind::CircuitBreaker => self.breakers.get(rule).map(|breaker| (&breaker.policy, &breaker.rule)),
        };
        names.map(|(policy, rule)| (&**policy, &**rule)).unwrap_or_default()
    }

    /// Takes note of how an admitted request ended. An admission that is dropped instead does no lasting harm: a lost probe's ticket expires.
    #[allow(clippy::needless_pass_by_value, reason = "an admission is completed once")]
    pub fn complete<S>(&mut self, admission: Admission, outcome: Outcome, store: &mut S, now_ns: u64)
    where
        S: Store + ?Sized,
    {
        let failed = outcome.failed();
        let since = *self.since.get_or_insert(now_ns);
        let Self { breakers, scratch, transitions, store_failures, .. } = self;
        let mut access = Access { store, bytes: &mut scratch.record, transitions, now: now_ns, since };
        for (number, watch) in admission.watches() {
            let Some(breaker) = breakers.get_mut(number as usize) else { continue };
            if breaker.complete(watch, failed, &mut access).is_err() {
                *store_failures += 1;
            }
        }
    }

    /// Brings what this worker holds back to the store where it is due: unused leased tokens, counted outcomes. Call it every few tens of milliseconds
    /// in every worker; nothing becomes wrong without it, but what an idle worker holds stays unseen until its next request.
    pub fn tick<S>(&mut self, store: &mut S, now_ns: u64)
    where
        S: Store + ?Sized,
    {
        self.settle(false, store, now_ns);
    }

    /// Brings everything back at once: the engine is about to be replaced or dropped. It can still complete what it admitted. A worker that does without
    /// loses what it holds: at most a lease of tokens a rule, and the outcomes of a few milliseconds.
    pub fn retire<S>(&mut self, store: &mut S, now_ns: u64)
    where
        S: Store + ?Sized,
    {
        self.settle(true, store, now_ns);
    }

    fn settle<S>(&mut self, all: bool, store: &mut S, now: u64)
    where
        S: Store + ?Sized,
    {
        let since = *self.since.get_or_insert(now);
        let Self { breakers, limits, scratch, transitions, store_failures, .. } = self;
        let mut access = Access { store, bytes: &mut scratch.record, transitions, now, since };
        for breaker in breakers {
            if breaker.flush_pending(all, &mut access).is_err() {
                *store_failures += 1;
            }
        }
        for limit in limits {
            if limit.return_lease(all, &mut access).is_err() {
                *store_failures += 1;
            }
        }
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

/// More rules than 2^32 do not fit in memory.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
