//! What can be seen of rules beside their decisions.

use super::Engine;
use super::rules::Rules;
use crate::circuit_breaker::Count;
use crate::concurrency::Use;
use crate::store::Store;
use crate::table::Access;

/// From the beginning of one round to that of the next, at least.
const PACE: u64 = 500_000_000;

/// Rules at each tick, so that ten thousand don't hold up the requests behind a tick: each costs about a microsecond.
const STRIDE: usize = 64;

/// How a rule stands, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<'e> {
    /// A circuit breaker's rule: it has a breaker for each key.
    Breakers {
        /// The policy's name.
        policy: &'e str,
        /// The rule's name.
        rule: &'e str,
        /// How many are open.
        open: u32,
        /// How many are half-open.
        half_open: u32,
    },
    /// A concurrency limit.
    Concurrency {
        /// The policy's name.
        policy: &'e str,
        /// The rule's name.
        rule: &'e str,
        /// Requests in flight, of all keys.
        in_flight: u32,
        /// How many of one key there may be; where the limit is found from latency, of the key that was most in use a moment ago.
        limit: u32,
        /// The largest share of its limit that one key had in use in the last five to ten seconds, in percent, up to 100.
        saturation: u32,
    },
    /// A degrade rule.
    Degrade {
        /// The policy's name.
        policy: &'e str,
        /// The rule's name.
        rule: &'e str,
        /// Whether it is in force.
        in_force: bool,
    },
}

/// Where a round of readings is.
#[derive(Debug, Default)]
pub(super) struct Round {
    begun: Option<u64>,
    /// The rule to be read next, breakers first, then bulkheads, then policies with degrade rules.
    next: usize,
}

impl Engine {
    /// Shows how the rules stand: some at each call, all of them again and again, about twice a second. Call it after each [`Engine::tick`]; it also tells the other workers what this one has in
    /// flight, so that each shows the same. What the store does not answer is not shown.
    pub fn measure<S>(&mut self, store: &mut S, now_ns: u64, mut show: impl FnMut(Reading<'_>))
    where
        S: Store + ?Sized,
    {
        let since = *self.since.get_or_insert(now_ns);
        let mut presence = self.presence.borrow();
        let Self { rules, scratch, transitions, round, .. } = self;
        let Rules { policies: _, breakers, limits: _, bulkheads, degrading } = rules;
        let all = breakers.len() + bulkheads.len() + degrading.len();
        let begun = *round.begun.get_or_insert(now_ns);
        if round.next >= all {
            if now_ns.abs_diff(begun) < PACE {
                return;
            }
            *round = Round { begun: Some(now_ns), next: 0 };
        }
        let mut access = Access { store, bytes: &mut scratch.record, transitions, now: now_ns, since };
        let from = round.next;
        round.next = all.min(from.saturating_add(STRIDE));
        let to = round.next;
        // What of this stride is in a list of which the first has this number.
        let part = |first: usize, length: usize| {
            let within = |number: usize| number.clamp(first, first + length) - first;
            within(from)..within(to)
        };
        let parts = (
            part(0, breakers.len()),
            part(breakers.len(), bulkheads.len()),
            part(breakers.len() + bulkheads.len(), degrading.len()),
        );
        for breaker in breakers.get_mut(parts.0).unwrap_or_default() {
            let Ok(Count { open, half_open }) = breaker.census(&mut access) else { continue };
            let (policy, rule) = (&*breaker.policy, &*breaker.rule);
            // Below zero until the worker that opened it has told so.
            let [open, half_open] = [open, half_open].map(|count| u32::try_from(count).unwrap_or(0));
            show(Reading::Breakers { policy, rule, open, half_open });
        }
        for bulkhead in bulkheads.get_mut(parts.1).unwrap_or_default() {
            let Ok(used) = bulkhead.usage(&mut presence, &mut access) else { continue };
            let Use { in_flight, limit, share } = used;
            let (policy, rule) = (&*bulkhead.policy, &*bulkhead.rule);
            let saturation = u32::from(share / 100).min(100);
            show(Reading::Concurrency { policy, rule, in_flight, limit, saturation });
        }
        for degrading in degrading.get(parts.2).unwrap_or_default() {
            for rule in &degrading.rules {
                let (policy, in_force) = (&*degrading.policy, rule.is_active());
                show(Reading::Degrade { policy, rule: &rule.rule, in_force });
            }
        }
    }
}

#[cfg(test)]
mod tests;
