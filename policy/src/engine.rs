//! One configuration at work: what the filter asks about every request.
//!
//! An [`Engine`] is a compiled [`Configuration`] and the little state that one worker keeps for itself. Everything that workers must agree
//! on is in the [`Store`], under the names of policy and rule: a new engine with a changed configuration finds it there.
//!
//! The filter calls [`Engine::decide`] once for each request, [`Engine::complete`] once for each request that was admitted (when it is
//! over, however it ended), and [`Engine::tick`] from time to time. Time is always an argument: nanoseconds of a monotonic clock that all workers
//! share. It may run backwards a little, as two workers' readings do.

pub mod explain;
mod keys;
mod reading;
mod refusal;
mod request;
mod rules;
mod ruling;

use std::fmt::Write as _;
use std::rc::Rc;

use self::keys::Keys;
use self::reading::Round;
use self::refusal::Refusal;
use self::rules::{Plan, Rules};
use self::ruling::{Findings, Ruling};
use crate::asked::{Asked, Thing};
use crate::config::{Configuration, Failures};
use crate::presence;
use crate::residue;
use crate::scope::{Cache, Index};
use crate::store::{Store, StoreError};
use crate::table::{Access, Seed};

pub use self::reading::Reading;
pub use self::request::{Needs, Request};
pub use crate::config::ConfigError;
pub use crate::decision::{
    Admission, BreakerState, Decision, Kind, Limits, Outcome, Reject, Transition, Verdict,
};

/// A compiled configuration and one worker's own state.
#[derive(Debug)]
pub struct Engine {
    revision: u64,
    announces_key: bool,
    traced: bool,
    needs: Needs,
    index: Index,
    plans: Cache<Plan>,
    rules: Rules,
    /// Of the whole VM: its engines share it.
    presence: presence::OfVm,
    residue: residue::OfVm,
    /// What counts as failures where no rule says.
    failures: Failures,
    /// When this worker first used it.
    since: Option<u64>,
    seed: Option<Seed>,
    asked: Asked,
    scratch: Scratch,
    transitions: Vec<Transition>,
    store_failures: u64,
    /// How far those who watch have come.
    round: Round,
}

/// Buffers that are used again for each request, so that a decision allocates nothing.
#[derive(Debug, Default)]
struct Scratch {
    route_key: Vec<u8>,
    key: Vec<u8>,
    record: Vec<u8>,
    findings: Findings,
    rate_limit: String,
    rate_limit_policy: String,
}

impl Engine {
    /// Compiles a configuration, or says everything that is wrong with it. Touches no store: an engine may be built only to see whether it can be.
    /// It comes into force with its first [`Engine::decide`] or [`Engine::tick`]; time until then counts at the rates of its predecessor.
    pub fn new(configuration: Configuration) -> Result<Self, ConfigError> {
        let problems = configuration.problems();
        if !problems.is_empty() {
            return Err(ConfigError::Problems(problems));
        }
        let Configuration { revision, announces_key, traced, policies } = configuration;
        let index = Index::new(&policies);
        let mut needs =
            Needs { route_name: index.needs_route(), filter_chain: index.needs_chain(), ..Needs::default() };
        let rules = Rules::compile(policies, revision, &mut needs);
        needs.outcomes = rules.hear_outcomes();
        let engine = Self {
            revision,
            announces_key,
            traced,
            needs,
            index,
            plans: Cache::default(),
            rules,
            presence: presence::OfVm::default(),
            residue: residue::OfVm::default(),
            failures: Failures::default(),
            since: None,
            seed: None,
            asked: Asked::default(),
            scratch: Scratch::default(),
            transitions: Vec::new(),
            store_failures: 0,
            round: Round::default(),
        };
        engine.residue.enter(engine.rules.tables());
        Ok(engine)
    }

    /// Makes this engine one of the same VM as `other`: the VM's heartbeat, by which others know that what it has in flight still counts, is given by the [`Engine::tick`] of either.
    pub fn join(&mut self, other: &Self) {
        self.presence = other.presence.clone();
        self.residue.leave(self.rules.tables());
        self.residue = other.residue.clone();
        self.residue.enter(self.rules.tables());
    }

    /// Whether all that is wanted of it is the route key.
    pub const fn announces_key(&self) -> bool {
        self.announces_key
    }

    /// Whether spans are recorded that want to know what rejected a request.
    pub const fn is_traced(&self) -> bool {
        self.traced
    }

    /// The revision of its configuration.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether a request that probes does so for a breaker that enforces: only then is it sent without retries. Rules in shadow mode change nothing.
    pub fn enforces_probe(&self, admission: &Admission) -> bool {
        let enforces = |rule: u32| {
            self.rules.breakers.get(rule as usize).is_some_and(|breaker| !breaker.reaction.is_shadow)
        };
        admission.watches().any(|(rule, watch)| watch.is_probe() && enforces(rule))
    }

    /// What [`Engine::decide`] may ask.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Whether a request passes.
    ///
    /// First all rules are asked, and only if all agree anything is taken: a request that is rejected takes no tokens, no place in flight and no probe's ticket. They are asked in
    /// this order: degrade, breakers, concurrency, limits. The first kind that rejects is named, and of several rules of that kind the one with the longest wait, because a retry
    /// before that is in vain. A rule for which the store does not answer lets the request pass, or not, as its `onFailure` says.
    #[inline]
    pub fn decide<R, S>(&mut self, request: &R, store: &mut S, now_ns: u64) -> Decision<'_>
    where
        R: Request + ?Sized,
        S: Store + ?Sized,
    {
        // An admission is large: it is filled where the caller keeps it, and moved nowhere.
        let verdict = Verdict::Admit(Admission::since(now_ns));
        let mut decision = Decision { key: None, verdict, shadowed: Vec::new(), limits: None };
        self.fill(&mut decision, request, store, now_ns);
        decision
    }

    /// Apart from [`Engine::decide`], so that this is small enough to become part of whoever calls it.
    #[inline(never)]
    fn fill<'e, R, S>(&'e mut self, decision: &mut Decision<'e>, request: &R, store: &mut S, now: u64)
    where
        R: Request + ?Sized,
        S: Store + ?Sized,
    {
        self.asked.begin();
        let plan = self.plan(request);
        let Self { needs, asked, scratch, rules, .. } = self;
        let route_key = plan.route_key.and_then(|policy| rules.route_key(policy));
        let key = &mut scratch.route_key;
        key.clear();
        let has_key = route_key.is_some_and(|route_key| route_key.extract(request, needs, asked, key));

        let ruled = match &mut decision.verdict {
            Verdict::Admit(admission) => self.rule(&plan, request, admission, store, now),
            Verdict::Reject(_) => Ok(()),
        };
        self.tell();
        if let Err(refusal) = ruled {
            decision.verdict = Verdict::Reject(self.reject(refusal));
        }
        let Scratch { route_key, findings, rate_limit, rate_limit_policy, .. } = &self.scratch;
        decision.key = has_key.then_some(route_key.as_slice());
        // Collecting nothing would cost a twentieth of the decision.
        if !findings.shadowed.is_empty() {
            decision.shadowed = findings.shadowed.iter().map(|refusal| self.reject(*refusal)).collect();
        }
        if !findings.standings.is_empty() {
            decision.limits = Some(Limits { rate_limit, policy: rate_limit_policy });
        }
    }

    /// Writes what the client is told of its limits.
    fn tell(&mut self) {
        let Self { rules, scratch, .. } = self;
        let Scratch { findings, rate_limit, rate_limit_policy, .. } = scratch;
        rate_limit.clear();
        rate_limit_policy.clear();
        for standing in &findings.standings {
            let Some(limit) = rules.limits.get(standing.limit as usize) else { continue };
            let separator = if rate_limit.is_empty() { "" } else { ", " };
            let seconds = |nanos: u64| nanos.div_ceil(1_000_000_000);
            let (rule, next, window) = (&limit.rule, seconds(standing.next), seconds(standing.window).max(1));
            // Writing to a String can't fail.
            let _ = write!(rate_limit, "{separator}\"{rule}\";r={};t={next}", standing.remaining);
            let _ = write!(rate_limit_policy, "{separator}\"{rule}\";q={};w={window}", standing.quota);
        }
    }

    fn reject(&self, Refusal { kind, rule, wait }: Refusal) -> Reject<'_> {
        let (policy, name, reaction) = self.rules.named(kind, rule).unwrap_or_default();
        let level = self.scratch.findings.level.as_deref().filter(|_| kind == Kind::Degrade);
        Reject { level, ..Reject::new(kind, policy, name, wait, reaction) }
    }

    /// What applies to the request.
    fn plan<R: Request + ?Sized>(&mut self, request: &R) -> Rc<Plan> {
        let Self { needs, asked, plans, index, rules, .. } = self;
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
        let chain = if needs.filter_chain { asked.get(Thing::FilterChain, needs, request) } else { None };
        let chain = chain.map(<[u8]>::to_vec);
        let route = if needs.route_name { asked.get(Thing::RouteName, needs, request) } else { None };
        let has_route_key = |policy| rules.route_key(policy).is_some();
        let has_priority = |policy| rules.priority(policy).is_some();
        plans.insert(rules.plan(&index.find(route, chain.as_deref(), has_route_key, has_priority)))
    }

    fn rule<R, S>(
        &mut self,
        plan: &Plan,
        request: &R,
        admission: &mut Admission,
        store: &mut S,
        now: u64,
    ) -> Result<(), Refusal>
    where
        R: Request + ?Sized,
        S: Store + ?Sized,
    {
        let since = *self.since.get_or_insert(now);
        let Self { needs, asked, seed, rules, presence, transitions, store_failures, .. } = self;
        let Scratch { route_key, key, record, findings, .. } = &mut self.scratch;
        let keys = Keys { request, needs, asked, route_key, key, seed };
        let access = Access { store, bytes: record, transitions, now, since };
        let presence = &mut presence.borrow();
        Ruling { keys, rules, presence, access, store_failures }.decide(plan, findings, admission)
    }

    /// Takes note of how an admitted request ended. Every admission must come here, however the request ended: it may be counted as in flight. Only those of a worker that has broken
    /// down are done without, when its heartbeat has stopped; a lost probe's ticket expires.
    #[allow(clippy::needless_pass_by_value, reason = "an admission is completed once")]
    pub fn complete<S>(&mut self, admission: Admission, outcome: Outcome, store: &mut S, now_ns: u64)
    where
        S: Store + ?Sized,
    {
        self.hear(&admission, &outcome, false, store, now_ns);
        let failed = outcome.failed(&self.failures);
        let latency = outcome.latency.unwrap_or_else(|| now_ns.saturating_sub(admission.since));
        let since = *self.since.get_or_insert(now_ns);
        let presence = self.presence.borrow();
        let Self { rules: Rules { bulkheads, degrading, .. }, scratch, transitions, store_failures, .. } =
            self;
        let mut access = Access { store, bytes: &mut scratch.record, transitions, now: now_ns, since };
        let answered = (failed == Some(false)).then_some(latency);
        for (number, hold) in admission.holds() {
            let Some(bulkhead) = bulkheads.get_mut(number as usize) else { continue };
            if bulkhead.release(hold, answered, &presence, &mut access).is_err() {
                *store_failures += 1;
            }
        }
        for number in admission.measured.iter().flat_map(|numbers| numbers.iter()) {
            let Some(degrading) = degrading.get_mut(*number as usize) else { continue };
            if let Some(failed) = failed {
                degrading.answered(failed, latency);
            }
        }
    }

    /// Takes note that an answer has begun whose end may be far: a WebSocket's or a streaming gRPC call's. For the breakers that the request probes this is the result: it succeeded, if
    /// `outcome` is no failure. Everything else waits for [`Engine::complete`].
    pub fn headers_seen<S>(&mut self, admission: &mut Admission, outcome: Outcome, store: &mut S, now_ns: u64)
    where
        S: Store + ?Sized,
    {
        self.hear(admission, &outcome, true, store, now_ns);
        admission.resolve_probes();
    }

    /// Has the breakers hear, all or only those that are probed.
    fn hear<S>(&mut self, admission: &Admission, outcome: &Outcome, probes: bool, store: &mut S, now: u64)
    where
        S: Store + ?Sized,
    {
        let latency = outcome.latency.unwrap_or_else(|| now.saturating_sub(admission.since));
        let since = *self.since.get_or_insert(now);
        let Self { rules, scratch, transitions, store_failures, .. } = self;
        let mut access = Access { store, bytes: &mut scratch.record, transitions, now, since };
        for (number, watch) in admission.watches().filter(|(_, watch)| !probes || watch.is_probe()) {
            let Some(breaker) = rules.breakers.get_mut(number as usize) else { continue };
            let verdict = breaker.verdict(outcome, latency);
            if breaker.complete(watch, verdict, &mut access).is_err() {
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
        let mut presence = self.presence.borrow();
        let Self { rules, scratch, transitions, store_failures, .. } = self;
        let Rules { policies: _, breakers, limits, bulkheads, degrading } = rules;
        let mut access = Access { store, bytes: &mut scratch.record, transitions, now, since };
        let mut note = |result: Result<(), StoreError>| *store_failures += u64::from(result.is_err());
        if !bulkheads.is_empty() {
            // A VM without traffic takes a seat too: it may be the only one left to see that another is gone.
            note(presence.owner(access.store).map(|_| ()));
        }
        note(presence.tick(access.store, now));
        note(self.residue.tick(access.store, now));
        for breaker in breakers {
            note(breaker.settle(all, &mut access));
        }
        for limit in limits {
            note(limit.return_leases(all, &mut access));
        }
        for bulkhead in bulkheads {
            note(bulkhead.settle(all, &presence, &mut access));
            if all {
                note(bulkhead.usage(&mut presence, &mut access).map(|_| ()));
            }
        }
        for degrading in degrading {
            if all || degrading.is_due(now) {
                note(degrading.visit(&mut access));
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

impl Drop for Engine {
    fn drop(&mut self) {
        self.residue.leave(self.rules.tables());
    }
}

#[cfg(test)]
mod tests;
