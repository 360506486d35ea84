//! What can be seen of rules beside their decisions.

use super::Engine;
use super::rules::Rules;
use crate::circuit_breaker::Count;
use crate::concurrency::Use;
use crate::store::{Store, StoreError};
use crate::table::Access;

/// From the beginning of one round to that of the next, at least.
const PACE: u64 = 500_000_000;

/// Records that are read at each tick, so that ten thousand rules, or keys, don't hold up the requests behind a tick: each costs about a microsecond. Most rules take one, breakers with key a few.
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
        let (first_bulkhead, first_degrading) = (breakers.len(), breakers.len() + bulkheads.len());
        let mut reads = STRIDE;
        while round.next < all && reads > 0 {
            let number = round.next;
            let bulkhead = number.checked_sub(first_bulkhead).and_then(|number| bulkheads.get_mut(number));
            let degrading = number.checked_sub(first_degrading).and_then(|number| degrading.get(number));
            if let Some(breaker) = breakers.get_mut(number) {
                match breaker.census(&mut reads, &mut access) {
                    Ok(Some(Count { open, half_open })) => {
                        let (policy, rule) = (&*breaker.policy, &*breaker.rule);
                        show(Reading::Breakers { policy, rule, open, half_open });
                    }
                    Ok(None) => return,
                    Err(StoreError) => {}
                }
            } else if let Some(bulkhead) = bulkhead {
                reads -= 1;
                if let Ok(Use { in_flight, limit, share }) = bulkhead.usage(&mut presence, &mut access) {
                    let (policy, rule) = (&*bulkhead.policy, &*bulkhead.rule);
                    let saturation = u32::from(share / 100).min(100);
                    show(Reading::Concurrency { policy, rule, in_flight, limit, saturation });
                }
            } else if let Some(degrading) = degrading {
                reads -= 1;
                for rule in &degrading.rules {
                    let (policy, in_force) = (&*degrading.policy, rule.is_active());
                    show(Reading::Degrade { policy, rule: &rule.rule, in_force });
                }
            }
            round.next += 1;
        }
    }
}

#[cfg(test)]
mod tests;
