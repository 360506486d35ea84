//! One request and everything that is asked to decide it.

use super::{Needs, Plan, Request};
use crate::asked::Asked;
use crate::circuit_breaker::{Breaker, Check};
use crate::decision::{Admission, Kind};
use crate::rate_limit::{Claim, Empty, RateLimit};
use crate::route_key::RuleKey;
use crate::store::{Store, StoreError};
use crate::table::{Access, ONLY, Seed, Slot, Table};

/// Why a request does not pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) kind: Kind,
    /// The rule's number.
    pub(super) rule: u32,
    pub(super) wait: u64,
}

/// The refusal with the longest wait; the first of several.
#[derive(Debug, Default)]
struct Longest(Option<Refusal>);

impl Longest {
    fn add(&mut self, refusal: Refusal) {
        if self.0.is_none_or(|longest| longest.wait < refusal.wait) {
            self.0 = Some(refusal);
        }
    }

    fn into_result(self) -> Result<(), Refusal> {
        self.0.map_or(Ok(()), Err)
    }
}

/// What turns a request into the places of its keys.
pub(super) struct Keys<'a, R: ?Sized> {
    pub(super) request: &'a R,
    pub(super) needs: &'a Needs,
    pub(super) asked: &'a mut Asked,
    pub(super) route_key: &'a [u8],
    /// A buffer for rules' keys.
    pub(super) key: &'a mut Vec<u8>,
    pub(super) seed: &'a mut Option<Seed>,
}

impl<R: Request + ?Sized> Keys<'_, R> {
    fn slot<S>(
        &mut self,
        key: &RuleKey,
        table: &Table,
        access: &mut Access<'_, S>,
    ) -> Result<Slot, StoreError>
    where
        S: Store + ?Sized,
    {
        if key.is_empty() {
            return Ok(ONLY);
        }
        key.build(self.request, self.route_key, self.needs, self.asked, self.key);
        let seed = match *self.seed {
            Some(seed) => seed,
            None => *self.seed.insert(Seed::of(access.store, access.bytes)?),
        };
        Ok(table.slot(seed, self.key))
    }
}

/// The parts of the engine that a decision works with.
pub(super) struct Ruling<'a, R: ?Sized, S: ?Sized> {
    pub(super) keys: Keys<'a, R>,
    pub(super) breakers: &'a mut [Breaker],
    pub(super) limits: &'a mut [RateLimit],
    pub(super) access: Access<'a, S>,
    pub(super) store_failures: &'a mut u64,
}

impl<R: Request + ?Sized, S: Store + ?Sized> Ruling<'_, R, S> {
    /// Breakers, then limits, then the tickets of half-open breakers. `claims` and `probes` are buffers.
    pub(super) fn decide(
        &mut self,
        plan: &Plan,
        claims: &mut Vec<Claim>,
        probes: &mut Vec<(u32, Slot)>,
    ) -> Result<Admission, Refusal> {
        let mut admission = self.check_breakers(&plan.breakers, probes)?;
        self.claim_tokens(&plan.limits, claims)?;
        self.take_tokens(claims)?;
        if let Err(refusal) = self.take_tickets(probes, &mut admission) {
            self.give_tickets_back(&admission);
            self.give_tokens_back(claims);
            return Err(refusal);
        }
        Ok(admission)
    }

    fn check_breakers(
        &mut self,
        numbers: &[u32],
        probes: &mut Vec<(u32, Slot)>,
    ) -> Result<Admission, Refusal> {
        probes.clear();
        let mut admission = Admission::default();
        let mut longest = Longest::default();
        for &rule in numbers {
            let Some(breaker) = self.breakers.get_mut(rule as usize) else { continue };
            let slot = self.keys.slot(&breaker.key, breaker.table(), &mut self.access);
            match slot.and_then(|slot| breaker.check(slot, &mut self.access)) {
                Ok(Check::Pass(watch)) => admission.add(rule, watch),
                Ok(Check::Probe(slot)) => probes.push((rule, slot)),
                Ok(Check::Reject { wait }) => longest.add(Refusal { kind: Kind::CircuitBreaker, rule, wait }),
                Err(StoreError) => *self.store_failures += 1,
            }
        }
        longest.into_result().map(|()| admission)
    }

    /// Whether every limit has a token.
    fn claim_tokens(&mut self, numbers: &[u32], claims: &mut Vec<Claim>) -> Result<(), Refusal> {
        claims.clear();
        let mut longest = Longest::default();
        for &rule in numbers {
            let Some(limit) = self.limits.get_mut(rule as usize) else { continue };
            let slot = self.keys.slot(&limit.key, limit.table(), &mut self.access);
            match slot.and_then(|slot| limit.claim(rule, slot, &mut self.access)) {
                Ok(Ok(claim)) => claims.push(claim),
                Ok(Err(Empty { wait })) => longest.add(Refusal { kind: Kind::RateLimit, rule, wait }),
                Err(StoreError) => *self.store_failures += 1,
            }
        }
        longest.into_result()
    }

    /// A token from each, or from none.
    fn take_tokens(&mut self, claims: &mut [Claim]) -> Result<(), Refusal> {
        let mut refusal = None;
        for claim in &mut *claims {
            let rule = claim.limit;
            let Some(limit) = self.limits.get_mut(rule as usize) else { continue };
            match limit.take(claim, &mut self.access) {
                Ok(Ok(())) => {}
                Ok(Err(Empty { wait })) => {
                    refusal = Some(Refusal { kind: Kind::RateLimit, rule, wait });
                    break;
                }
                Err(StoreError) => *self.store_failures += 1,
            }
        }
        match refusal {
            None => Ok(()),
            Some(refusal) => {
                self.give_tokens_back(claims);
                Err(refusal)
            }
        }
    }

    fn give_tokens_back(&mut self, claims: &[Claim]) {
        for claim in claims {
            let Some(limit) = self.limits.get_mut(claim.limit as usize) else { continue };
            if limit.give_back(claim, &mut self.access).is_err() {
                *self.store_failures += 1;
            }
        }
    }

    fn take_tickets(&mut self, probes: &[(u32, Slot)], admission: &mut Admission) -> Result<(), Refusal> {
        for &(rule, slot) in probes {
            let Some(breaker) = self.breakers.get_mut(rule as usize) else { continue };
            match breaker.probe(slot, &mut self.access) {
                Ok(Check::Pass(watch)) => admission.add(rule, watch),
                Ok(Check::Reject { wait }) => return Err(Refusal { kind: Kind::CircuitBreaker, rule, wait }),
                // It has opened and waited once more since it was checked.
                Ok(Check::Probe(_)) => return Err(Refusal { kind: Kind::CircuitBreaker, rule, wait: 0 }),
                Err(StoreError) => *self.store_failures += 1,
            }
        }
        Ok(())
    }

    fn give_tickets_back(&mut self, admission: &Admission) {
        for (rule, watch) in admission.watches().filter(|(_, watch)| watch.is_probe()) {
            let Some(breaker) = self.breakers.get_mut(rule as usize) else { continue };
            if breaker.complete(watch, None, &mut self.access).is_err() {
                *self.store_failures += 1;
            }
        }
    }
}
