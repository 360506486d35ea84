//! A configuration's rules, compiled, and which of them a request meets.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::Needs;
use crate::circuit_breaker::Breaker;
use crate::concurrency::Bulkhead;
use crate::config::Policy;
use crate::decision::Kind;
use crate::degrade::{Degrading, MOST};
use crate::priority::Priority;
use crate::rate_limit::RateLimit;
use crate::reaction::Reaction;
use crate::route_key::RouteKey;
use crate::scope::Applying;
use crate::table::Table;

/// The rules of all policies. Elsewhere each is known by its number here.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) policies: Vec<PolicyRules>,
    pub(super) breakers: Vec<Breaker>,
    pub(super) limits: Vec<RateLimit>,
    pub(super) bulkheads: Vec<Bulkhead>,
    pub(super) degrading: Vec<Degrading>,
}

/// A policy's rules, by their numbers.
#[derive(Debug)]
pub(super) struct PolicyRules {
    pub(super) name: Rc<str>,
    pub(super) route_key: Option<RouteKey>,
    pub(super) priority: Option<Priority>,
    breakers: Range<u32>,
    limits: Range<u32>,
    bulkheads: Range<u32>,
    degrading: Option<u32>,
}

/// What is asked for requests of one route, in order.
#[derive(Debug)]
pub(super) struct Plan {
    /// The policy whose route key it is.
    pub(super) route_key: Option<u32>,
    /// The policy whose priority it is.
    pub(super) priority: Option<u32>,
    pub(super) breakers: Vec<u32>,
    pub(super) limits: Vec<u32>,
    pub(super) bulkheads: Vec<u32>,
    pub(super) degrading: Arc<[u32]>,
}

impl Rules {
    /// Compiles policies in which nothing is wrong.
    pub(super) fn compile(policies: Vec<Policy>, revision: u64, needs: &mut Needs) -> Self {
        let mut rules = Self::default();
        for policy in policies {
            rules.add(policy, revision, needs);
        }
        rules
    }

    fn add(&mut self, policy: Policy, revision: u64, needs: &mut Needs) {
        let Policy {
            name,
            applies_to: _,
            route_key,
            rate_limits,
            circuit_breakers,
            concurrency,
            priority,
            degrade,
        } = policy;
        let Self { policies, breakers, limits, bulkheads, degrading } = self;
        let name: Rc<str> = Rc::from(name.as_str());
        let first = (number(breakers.len()), number(limits.len()), number(bulkheads.len()));
        for rule in circuit_breakers {
            breakers.push(Breaker::new(Rc::clone(&name), rule, needs));
        }
        for rule in rate_limits {
            limits.push(RateLimit::new(Rc::clone(&name), rule, revision, needs));
        }
        let measured = (!degrade.is_empty()).then(|| {
            degrading.push(Degrading::new(Rc::clone(&name), &degrade, needs));
            number(degrading.len() - 1)
        });
        for rule in concurrency {
            bulkheads.push(Bulkhead::new(Rc::clone(&name), rule, measured, needs));
        }
        policies.push(PolicyRules {
            name,
            route_key: (!route_key.is_empty()).then(|| RouteKey::compile(&route_key, needs)),
            priority: priority.map(|priority| Priority::compile(&priority, needs)),
            breakers: first.0..number(breakers.len()),
            limits: first.1..number(limits.len()),
            bulkheads: first.2..number(bulkheads.len()),
            degrading: measured,
        });
    }

    /// Whether any of them wants to hear how requests end.
    pub(super) const fn hear_outcomes(&self) -> bool {
        !self.breakers.is_empty() || !self.bulkheads.is_empty() || !self.degrading.is_empty()
    }

    /// Everything that they keep in the store.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Table> {
        let breakers = self.breakers.iter().flat_map(Breaker::tables);
        let limits = self.limits.iter().flat_map(RateLimit::tables);
        let bulkheads = self.bulkheads.iter().flat_map(Bulkhead::tables);
        let degrading = self.degrading.iter().map(Degrading::table);
        breakers.chain(limits).chain(bulkheads).chain(degrading)
    }

    /// A policy's own route key.
    pub(super) fn route_key(&self, policy: u32) -> Option<&RouteKey> {
        self.policies.get(policy as usize)?.route_key.as_ref()
    }

    /// A policy's own priority.
    pub(super) fn priority(&self, policy: u32) -> Option<&Priority> {
        self.policies.get(policy as usize)?.priority.as_ref()
    }

    /// What is asked where these policies apply.
    pub(super) fn plan(&self, applying: &Applying) -> Plan {
        let rules = || applying.policies.iter().filter_map(|policy| self.policies.get(*policy as usize));
        Plan {
            route_key: applying.route_key,
            priority: applying.priority,
            breakers: rules().flat_map(|rules| rules.breakers.clone()).collect(),
            limits: rules().flat_map(|rules| rules.limits.clone()).collect(),
            bulkheads: rules().flat_map(|rules| rules.bulkheads.clone()).collect(),
            degrading: rules().filter_map(|rules| rules.degrading).collect(),
        }
    }

    /// The names of a rule and its policy, and how it answers.
    pub(super) fn named(&self, kind: Kind, rule: u32) -> Option<(&str, &str, Option<&Reaction>)> {
        let index = rule as usize;
        Some(match kind {
            Kind::RateLimit => {
                let limit = self.limits.get(index)?;
                (&limit.policy, &limit.rule, Some(&limit.reaction))
            }
            Kind::CircuitBreaker => {
                let breaker = self.breakers.get(index)?;
                (&breaker.policy, &breaker.rule, Some(&breaker.reaction))
            }
            Kind::Concurrency => {
                let bulkhead = self.bulkheads.get(index)?;
                (&bulkhead.policy, &bulkhead.rule, Some(&bulkhead.reaction))
            }
            Kind::Degrade => {
                let degrading = self.degrading.get((rule / MOST) as usize)?;
                let rule = degrading.rules.get((rule % MOST) as usize)?;
                (&degrading.policy, &rule.rule, Some(&rule.reaction))
            }
        })
    }
}

/// More rules than 2^32 do not fit in memory.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
