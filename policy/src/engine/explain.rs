//! What each rule has to say about one request, for people who want to know. The rules are asked as for a decision and in the same order, but all of them, and nothing is taken.

use super::keys::Keys;
use super::ruling::Ruling;
use super::{Engine, Request, Scratch};
use crate::circuit_breaker::Check;
use crate::decision::{BreakerState, Kind};
use crate::rate_limit::{Empty, Place, Standing};
use crate::store::{Store, StoreError};
use crate::table::{Access, ONLY};

/// What applies to a request, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The policy whose route key counts, and the key, if the request gives one.
    pub route_key: Option<(String, Option<Vec<u8>>)>,
    /// The policy whose priority counts, and the request's level.
    pub priority: Option<(String, String)>,
    /// Every rule of every policy that applies, in the order in which they are asked.
    pub rules: Vec<Opinion>,
}

/// One rule's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// The kind of rule.
    pub kind: Kind,
    /// The policy's name.
    pub policy: String,
    /// The rule's name.
    pub rule: String,
    /// Whether it only counts what it would reject.
    pub is_shadow: bool,
    /// The key by which it tells requests apart, if it does.
    pub key: Option<Vec<u8>>,
    /// What it says.
    pub says: Says,
}

/// What a rule says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// The rule is about other requests (`when`, `only`, levels).
    NotConcerned,
    /// An override lifts the limit for this key.
    Unlimited,
    /// A token bucket.
    Tokens {
        /// What the request takes.
        cost: u32,
        /// What is there. Whole tokens; `None` where this worker has leased enough not to look.
        left: Option<u32>,
        /// What a full bucket holds.
        burst: Option<u32>,
        /// Nanoseconds until there is enough; `None`: there is.
        wait: Option<u64>,
    },
    /// A circuit breaker.
    Breaker {
        /// Its state, as this request finds it.
        state: BreakerState,
        /// Nanoseconds until it probes.
        wait: Option<u64>,
    },
    /// A concurrency limit.
    InFlight {
        /// Requests in flight, this one included.
        count: u32,
        /// How many there may be.
        limit: u32,
    },
    /// A degrade rule that is about this request.
    Pressure {
        /// Whether there is so much pressure that it rejects.
        in_force: bool,
    },
    /// The store does not answer; the request passes, or not, as `onFailure` says.
    NoAnswer {
        /// What `onFailure` says.
        passes: bool,
    },
}

impl Says {
    /// Whether the request passes, as far as this rule is concerned.
    pub const fn passes(&self) -> bool {
        match self {
            Self::NotConcerned | Self::Unlimited => true,
            Self::Tokens { wait, .. } => wait.is_none(),
            Self::Breaker { state, .. } => !matches!(state, BreakerState::Open),
            Self::InFlight { count, limit } => *count <= *limit,
            Self::Pressure { in_force } => !*in_force,
            Self::NoAnswer { passes } => *passes,
        }
    }
}

impl Engine {
    /// Asks every rule that applies to a request what it would say now.
    pub fn explain<R, S>(&mut self, request: &R, store: &mut S, now_ns: u64) -> Explanation
    where
        R: Request + ?Sized,
        S: Store + ?Sized,
    {
        self.asked.begin();
        let plan = self.plan(request);
        let since = *self.since.get_or_insert(now_ns);
        let Self { needs, asked, seed, rules, presence, scratch, transitions, store_failures, .. } = self;
        let Scratch { route_key: found_key, key, record, .. } = scratch;

        found_key.clear();
        let route_key = plan.route_key.and_then(|policy| {
            let rules = rules.policies.get(policy as usize)?;
            let is_there = rules.route_key.as_ref()?.extract(request, needs, asked, found_key);
            Some((rules.name.to_string(), is_there.then(|| found_key.clone())))
        });
        let priority = plan.priority.and_then(|policy| {
            let rules = rules.policies.get(policy as usize)?;
            let level = rules.priority.as_ref()?.level(request, needs, asked, key);
            Some((rules.name.to_string(), level.to_string()))
        });
        let keys = Keys { request, needs, asked, route_key: found_key, key, seed };
        let access = Access { store, bytes: record, transitions, now: now_ns, since };
        let mut asking = Ruling { keys, rules, presence: &mut presence.borrow(), access, store_failures };
        let level = priority.as_ref().map(|(_, level)| level.as_str());
        let mut opinions = Vec::new();
        for &policy in &*plan.degrading {
            asking.ask_degrading(policy, level, &mut opinions);
        }
        opinions.extend(plan.breakers.iter().filter_map(|&number| asking.ask_breaker(number)));
        opinions.extend(plan.bulkheads.iter().filter_map(|&number| asking.ask_bulkhead(number)));
        opinions.extend(plan.limits.iter().filter_map(|&number| asking.ask_limit(number)));
        Explanation { route_key, priority, rules: opinions }
    }
}

impl<R: Request + ?Sized, S: Store + ?Sized> Ruling<'_, R, S> {
    fn ask_degrading(&mut self, policy: u32, level: Option<&str>, opinions: &mut Vec<Opinion>) {
        let Some(degrading) = self.rules.degrading.get_mut(policy as usize) else { return };
        let visited = degrading.visit(&mut self.access);
        let Keys { request, needs, asked, .. } = &mut self.keys;
        for rule in &degrading.rules {
            let is_about = rule.sheds(level) && rule.only.matches(*request, needs, asked);
            let says = match visited {
                _ if !is_about => Says::NotConcerned,
                Ok(()) => Says::Pressure { in_force: rule.is_active() },
                Err(StoreError) => Says::NoAnswer { passes: true },
            };
            opinions.push(Opinion {
                kind: Kind::Degrade,
                policy: degrading.policy.to_string(),
                rule: rule.rule.to_string(),
                is_shadow: rule.reaction.is_shadow,
                key: None,
                says,
            });
        }
    }

    fn ask_breaker(&mut self, number: u32) -> Option<Opinion> {
        let breaker = self.rules.breakers.get_mut(number as usize)?;
        let slot = self.keys.slot(&breaker.key, breaker.table(), &mut self.access);
        let says = match slot.and_then(|slot| breaker.check(slot, &mut self.access)) {
            Ok(Check::Pass(_)) => Says::Breaker { state: BreakerState::Closed, wait: None },
            Ok(Check::Probe(_)) => Says::Breaker { state: BreakerState::HalfOpen, wait: None },
            Ok(Check::Reject { wait }) => Says::Breaker { state: BreakerState::Open, wait: Some(wait) },
            Err(StoreError) => Says::NoAnswer { passes: !breaker.reaction.denies },
        };
        Some(Opinion {
            kind: Kind::CircuitBreaker,
            policy: breaker.policy.to_string(),
            rule: breaker.rule.to_string(),
            is_shadow: breaker.reaction.is_shadow,
            key: (!breaker.key.is_empty()).then(|| self.keys.key.clone()),
            says,
        })
    }

    fn ask_bulkhead(&mut self, number: u32) -> Option<Opinion> {
        let bulkhead = self.rules.bulkheads.get_mut(number as usize)?;
        let slot = self.keys.slot(&bulkhead.key, bulkhead.table(), &mut self.access);
        let says = match slot.and_then(|slot| bulkhead.look(slot, self.presence, &mut self.access)) {
            Ok(Ok(room) | Err((_, room))) => Says::InFlight { count: room.count, limit: room.limit.now },
            Err(StoreError) => Says::NoAnswer { passes: !bulkhead.reaction.denies },
        };
        Some(Opinion {
            kind: Kind::Concurrency,
            policy: bulkhead.policy.to_string(),
            rule: bulkhead.rule.to_string(),
            is_shadow: bulkhead.reaction.is_shadow,
            key: (!bulkhead.key.is_empty()).then(|| self.keys.key.clone()),
            says,
        })
    }

    fn ask_limit(&mut self, number: u32) -> Option<Opinion> {
        let limit = self.rules.limits.get_mut(number as usize)?;
        self.keys.build(&limit.key);
        let place = limit.place(self.keys.key);
        let Keys { request, needs, asked, .. } = &mut self.keys;
        let is_about = limit.when.matches(*request, needs, asked);
        let cost = limit.charge.tokens(*request, needs, asked);
        let slot = match (place, limit.table()) {
            (Place::Common, Some(table)) => self.keys.place(table, &mut self.access),
            _ => Ok(ONLY),
        };
        let mut claim = || slot.and_then(|slot| limit.claim(number, place, slot, cost, &mut self.access));
        let says = if !is_about {
            Says::NotConcerned
        } else if place == Place::Unlimited {
            Says::Unlimited
        } else {
            match claim() {
                Ok(Ok(claim)) => {
                    let standing = limit.standing(&claim);
                    let left = standing.map(|standing| standing.remaining);
                    Says::Tokens { cost, left, burst: standing.map(|standing| standing.quota), wait: None }
                }
                Ok(Err(Empty { wait, standing: Standing { remaining, quota, .. } })) => {
                    Says::Tokens { cost, left: Some(remaining), burst: Some(quota), wait: Some(wait) }
                }
                Err(StoreError) => Says::NoAnswer { passes: !limit.reaction.denies },
            }
        };
        Some(Opinion {
            kind: Kind::RateLimit,
            policy: limit.policy.to_string(),
            rule: limit.rule.to_string(),
            is_shadow: limit.reaction.is_shadow,
            key: (!limit.key.is_empty()).then(|| self.keys.key.clone()),
            says,
        })
    }
}

#[cfg(test)]
mod tests;
