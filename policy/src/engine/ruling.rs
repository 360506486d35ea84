//! One request and everything that is asked to decide it.

use std::rc::Rc;
use std::sync::Arc;

use super::Request;
use super::keys::Keys;
use super::refusal::{Refusal, Refusals};
use super::rules::{Plan, Rules};
use crate::circuit_breaker::Check;
use crate::concurrency::{Full, Room};
use crate::decision::{Admission, Kind};
use crate::degrade::MOST;
use crate::presence::Presence;
use crate::rate_limit::{Claim, Empty, Place, Standing};
use crate::store::{Store, StoreError};
use crate::table::{Access, ONLY, Slot};

/// The parts of the engine that a decision works with.
pub(super) struct Ruling<'a, R: ?Sized, S: ?Sized> {
    pub(super) keys: Keys<'a, R>,
    pub(super) rules: &'a mut Rules,
    pub(super) presence: &'a mut Presence,
    pub(super) access: Access<'a, S>,
    pub(super) store_failures: &'a mut u64,
}

/// Buffers for what a decision has found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    claims: Vec<Claim>,
    probes: Vec<(u32, Slot)>,
    rooms: Vec<(u32, Room)>,
    pub(super) shadowed: Vec<Refusal>,
    /// Of the limits that tell.
    pub(super) standings: Vec<Standing>,
    /// How important the request is, where that was asked for a reject.
    pub(super) level: Option<Rc<str>>,
}

impl Findings {
    fn clear(&mut self) {
        let Self { claims, probes, rooms, shadowed, standings, level } = self;
        claims.clear();
        probes.clear();
        rooms.clear();
        shadowed.clear();
        standings.clear();
        *level = None;
    }
}

/// The number under which a refusal names a degrade rule.
pub(super) const fn degrade_number(policy: u32, place: u32) -> u32 {
    // There are fewer policies than would make this overflow, or naming the rule fails.
    policy.saturating_mul(MOST).saturating_add(place)
}

impl<R: Request + ?Sized, S: Store + ?Sized> Ruling<'_, R, S> {
    /// First everything is looked at: pressure, breakers, bulkheads, limits. Then all is taken: tokens, places in flight, probes' tickets; if one of them is gone by then, what was
    /// taken goes back.
    ///
    /// The admission is filled where it is: it is large enough that handing it up call by call shows.
    pub(super) fn decide(
        &mut self,
        plan: &Plan,
        found: &mut Findings,
        admission: &mut Admission,
    ) -> Result<(), Refusal> {
        found.clear();
        // Most plans lack some kinds of rule; passing them by costs less than asking none.
        if !plan.degrading.is_empty() {
            self.check_pressure(plan, found)?;
        }
        if !plan.breakers.is_empty() {
            self.check_breakers(&plan.breakers, found, admission)?;
        }
        if !plan.bulkheads.is_empty() {
            self.find_room(&plan.bulkheads, found)?;
        }
        if !plan.limits.is_empty() {
            self.claim_tokens(&plan.limits, found)?;
        }
        let taken = self.take_tokens(found).and_then(|()| self.take_room(found, admission));
        if let Err(refusal) = taken.and_then(|()| self.take_tickets(found, admission)) {
            self.give_tickets_back(admission);
            self.give_room_back(admission);
            self.give_tokens_back(&found.claims);
            return Err(refusal);
        }
        if !plan.degrading.is_empty() {
            admission.measured = Some(Arc::clone(&plan.degrading));
        }
        Ok(())
    }

    fn check_pressure(&mut self, plan: &Plan, found: &mut Findings) -> Result<(), Refusal> {
        let mut refusals = Refusals::new(&mut found.shadowed);
        let mut level = None;
        let Rules { policies, degrading, .. } = &mut *self.rules;
        let priority = plan.priority.and_then(|policy| policies.get(policy as usize)?.priority.as_ref());
        for &policy in &*plan.degrading {
            let Some(degrading) = degrading.get_mut(policy as usize) else { continue };
            if degrading.is_due(self.access.now) && degrading.visit(&mut self.access).is_err() {
                *self.store_failures += 1;
            }
            let Keys { request, needs, asked, key, .. } = &mut self.keys;
            for (place, rule) in (0..).zip(&mut degrading.rules) {
                if !rule.is_active() {
                    continue;
                }
                if level.is_none() {
                    level = priority.map(|priority| priority.level(*request, needs, asked, key));
                }
                let is_about = rule.is_about(level.map(|level| &**level));
                if is_about && rule.only.matches(*request, needs, asked) && !rule.admits() {
                    let number = degrade_number(policy, place);
                    found.level = level.cloned();
                    refusals.add(Refusal { kind: Kind::Degrade, rule: number, wait: 0 }, &rule.reaction);
                }
            }
        }
        refusals.into_result()
    }

    fn check_breakers(
        &mut self,
        numbers: &[u32],
        found: &mut Findings,
        admission: &mut Admission,
    ) -> Result<(), Refusal> {
        const KIND: Kind = Kind::CircuitBreaker;
        let mut refusals = Refusals::new(&mut found.shadowed);
        for &rule in numbers {
            let Some(breaker) = self.rules.breakers.get_mut(rule as usize) else { continue };
            let slot = self.keys.slot(&breaker.key, breaker.table(), &mut self.access);
            match slot.and_then(|slot| breaker.check(slot, &mut self.access)) {
                Ok(Check::Pass(watch)) => admission.add(rule, watch),
                Ok(Check::Probe(slot)) => found.probes.push((rule, slot)),
                Ok(Check::Reject { wait }) => {
                    refusals.add(Refusal { kind: KIND, rule, wait }, &breaker.reaction);
                }
                Err(StoreError) => refusals.fail(KIND, rule, &breaker.reaction, self.store_failures),
            }
        }
        refusals.into_result()
    }

    fn find_room(&mut self, numbers: &[u32], found: &mut Findings) -> Result<(), Refusal> {
        const KIND: Kind = Kind::Concurrency;
        let mut refusals = Refusals::new(&mut found.shadowed);
        for &rule in numbers {
            let Some(bulkhead) = self.rules.bulkheads.get_mut(rule as usize) else { continue };
            let slot = self.keys.slot(&bulkhead.key, bulkhead.table(), &mut self.access);
            let room = match slot.and_then(|slot| bulkhead.look(slot, self.presence, &mut self.access)) {
                Ok(Ok(room)) => {
                    found.rooms.push((rule, room));
                    room
                }
                Ok(Err((Full, room))) => {
                    refusals.add(Refusal { kind: KIND, rule, wait: 0 }, &bulkhead.reaction);
                    room
                }
                Err(StoreError) => {
                    refusals.fail(KIND, rule, &bulkhead.reaction, self.store_failures);
                    continue;
                }
            };
            bulkhead.found(&room);
            let degrading =
                bulkhead.degrading.and_then(|policy| self.rules.degrading.get_mut(policy as usize));
            if let Some(degrading) = degrading {
                degrading.saturated(room.share());
            }
        }
        refusals.into_result()
    }

    /// Whether every limit has the tokens.
    fn claim_tokens(&mut self, numbers: &[u32], found: &mut Findings) -> Result<(), Refusal> {
        const KIND: Kind = Kind::RateLimit;
        let mut refusals = Refusals::new(&mut found.shadowed);
        for &rule in numbers {
            let Some(limit) = self.rules.limits.get_mut(rule as usize) else { continue };
            let Keys { request, needs, asked, .. } = &mut self.keys;
            if !limit.when.matches(*request, needs, asked) {
                continue;
            }
            let cost = limit.charge.tokens(*request, needs, asked);
            self.keys.build(&limit.key);
            let place = limit.place(self.keys.key);
            let slot = match (place, limit.table()) {
                (Place::Unlimited, _) => continue,
                (Place::Common, Some(table)) => self.keys.place(table, &mut self.access),
                (Place::Own(_) | Place::Common, _) => Ok(ONLY),
            };
            match slot.and_then(|slot| limit.claim(rule, place, slot, cost, &mut self.access)) {
                Ok(Ok(claim)) => {
                    if limit.tells {
                        found.standings.extend(limit.standing(&claim));
                    }
                    found.claims.push(claim);
                }
                Ok(Err(Empty { wait, standing })) => {
                    if limit.tells {
                        found.standings.push(standing);
                    }
                    refusals.add(Refusal { kind: KIND, rule, wait }, &limit.reaction);
                }
                Err(StoreError) => refusals.fail(KIND, rule, &limit.reaction, self.store_failures),
            }
        }
        refusals.into_result()
    }

    /// Tokens from each, or from none.
    fn take_tokens(&mut self, found: &mut Findings) -> Result<(), Refusal> {
        let Findings { claims, shadowed, standings, .. } = found;
        for claim in claims {
            let rule = claim.limit;
            let Some(limit) = self.rules.limits.get_mut(rule as usize) else { continue };
            let taken = limit.take(claim, &mut self.access);
            if taken == Ok(Ok(())) && !limit.tells {
                continue;
            }
            let mut refusals = Refusals::new(shadowed);
            let standing = match taken {
                Ok(Ok(())) => limit.standing(claim),
                Ok(Err(Empty { wait, standing })) => {
                    refusals.add(Refusal { kind: Kind::RateLimit, rule, wait }, &limit.reaction);
                    Some(standing)
                }
                Err(StoreError) => {
                    refusals.fail(Kind::RateLimit, rule, &limit.reaction, self.store_failures);
                    None
                }
            };
            if let (true, Some(standing)) = (limit.tells, standing) {
                standings.iter_mut().filter(|told| told.limit == rule).for_each(|told| *told = standing);
            }
            refusals.into_result()?;
        }
        Ok(())
    }

    fn give_tokens_back(&mut self, claims: &[Claim]) {
        for claim in claims {
            let Some(limit) = self.rules.limits.get_mut(claim.limit as usize) else { continue };
            if limit.give_back(claim, &mut self.access).is_err() {
                *self.store_failures += 1;
            }
        }
    }

    fn take_room(&mut self, found: &mut Findings, admission: &mut Admission) -> Result<(), Refusal> {
        const KIND: Kind = Kind::Concurrency;
        let Findings { rooms, shadowed, .. } = found;
        for &(rule, room) in &*rooms {
            let Some(bulkhead) = self.rules.bulkheads.get_mut(rule as usize) else { continue };
            let mut refusals = Refusals::new(shadowed);
            match bulkhead.take(room, self.presence, &mut self.access) {
                Ok(Ok(hold)) => admission.hold(rule, hold),
                Ok(Err(Full)) => refusals.add(Refusal { kind: KIND, rule, wait: 0 }, &bulkhead.reaction),
                Err(StoreError) => refusals.fail(KIND, rule, &bulkhead.reaction, self.store_failures),
            }
            refusals.into_result()?;
        }
        Ok(())
    }

    fn give_room_back(&mut self, admission: &Admission) {
        for (rule, hold) in admission.holds() {
            let Some(bulkhead) = self.rules.bulkheads.get_mut(rule as usize) else { continue };
            if bulkhead.release(hold, None, self.presence, &mut self.access).is_err() {
                *self.store_failures += 1;
            }
        }
    }

    fn take_tickets(&mut self, found: &mut Findings, admission: &mut Admission) -> Result<(), Refusal> {
        const KIND: Kind = Kind::CircuitBreaker;
        let Findings { probes, shadowed, .. } = found;
        for &(rule, slot) in &*probes {
            let Some(breaker) = self.rules.breakers.get_mut(rule as usize) else { continue };
            let mut refusals = Refusals::new(shadowed);
            match breaker.probe(slot, &mut self.access) {
                Ok(Check::Pass(watch)) => admission.add(rule, watch),
                Ok(Check::Reject { wait }) => {
                    refusals.add(Refusal { kind: KIND, rule, wait }, &breaker.reaction);
                }
                // It has opened and waited once more since it was checked.
                Ok(Check::Probe(_)) => refusals.add(Refusal { kind: KIND, rule, wait: 0 }, &breaker.reaction),
                Err(StoreError) => refusals.fail(KIND, rule, &breaker.reaction, self.store_failures),
            }
            refusals.into_result()?;
        }
        Ok(())
    }

    fn give_tickets_back(&mut self, admission: &Admission) {
        for (rule, watch) in admission.watches().filter(|(_, watch)| watch.is_probe()) {
            let Some(breaker) = self.rules.breakers.get_mut(rule as usize) else { continue };
            if breaker.complete(watch, None, &mut self.access).is_err() {
                *self.store_failures += 1;
            }
        }
    }
}
