//! What is remembered of an admitted request.

use std::sync::Arc;

use crate::circuit_breaker::Watch;
use crate::concurrency::Hold;

/// What the engine must remember of an admitted request. Costs no heap unless more than two breakers or more than two bulkheads are concerned.
#[derive(Debug, Default)]
pub struct Admission {
    watches: Few<Watch>,
    holds: Few<Hold>,
    /// The policies that measure themselves by this request.
    pub(crate) measured: Option<Arc<[u32]>>,
    /// When it was admitted.
    pub(crate) since: u64,
}

/// Things of rules, by the rules' numbers. Mostly there are none or one.
#[derive(Debug)]
struct Few<T> {
    first: Option<(u32, T)>,
    second: Option<(u32, T)>,
    more: Vec<(u32, T)>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: None, second: None, more: Vec::new() }
    }
}

impl<T: Copy> Few<T> {
    const fn is_empty(&self) -> bool {
        self.first.is_none() && self.second.is_none() && self.more.is_empty()
    }

    fn push(&mut self, rule: u32, thing: T) {
        if self.first.is_none() {
            self.first = Some((rule, thing));
        } else if self.second.is_none() {
            self.second = Some((rule, thing));
        } else {
            self.more.push((rule, thing));
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u32, T)> + '_ {
        self.first.iter().chain(&self.second).chain(&self.more).copied()
    }

    fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.first = self.first.take_if(|(_, thing)| keep(thing));
        self.second = self.second.take_if(|(_, thing)| keep(thing));
        self.more.retain(|(_, thing)| keep(thing));
    }
}

impl Admission {
    /// Of a request that nothing watches yet.
    pub(crate) fn since(now: u64) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// Whether the request probes a half-open breaker. A probe is one attempt: send it without retries.
    pub fn is_probe(&self) -> bool {
        self.watches().any(|(_, watch)| watch.is_probe())
    }

    /// Whether anything wants to hear how the request ended; if not, [`Engine::complete`] need not be called.
    ///
    /// [`Engine::complete`]: crate::engine::Engine::complete
    pub const fn is_watched(&self) -> bool {
        !self.watches.is_empty() || !self.holds.is_empty() || self.measured.is_some()
    }

    /// Has a breaker, by its number, hear of the end, if it wants to.
    pub(crate) fn add(&mut self, breaker: u32, watch: Option<Watch>) {
        if let Some(watch) = watch {
            self.watches.push(breaker, watch);
        }
    }

    /// Has a bulkhead, by its number, hear of the end.
    pub(crate) fn hold(&mut self, bulkhead: u32, hold: Hold) {
        self.holds.push(bulkhead, hold);
    }

    pub(crate) fn watches(&self) -> impl Iterator<Item = (u32, Watch)> + '_ {
        self.watches.iter()
    }

    pub(crate) fn holds(&self) -> impl Iterator<Item = (u32, Hold)> + '_ {
        self.holds.iter()
    }

    /// Forgets the probes: they have been resolved.
    pub(crate) fn resolve_probes(&mut self) {
        self.watches.retain(|watch| !watch.is_probe());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_kept_in_order_and_only_those_that_are_to_be_kept() {
        let mut few = Few::default();
        assert!(few.is_empty());
        for number in 0..5 {
            few.push(number, number * 10);
            assert!(!few.is_empty());
        }
        assert_eq!(few.iter().collect::<Vec<_>>(), [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40)]);
        few.retain(|thing| *thing != 0 && *thing != 30);
        assert_eq!(few.iter().collect::<Vec<_>>(), [(1, 10), (2, 20), (4, 40)]);
        few.push(9, 90);
        assert_eq!(few.iter().next(), Some((9, 90)), "in the place that is free");
        few.retain(|_| false);
        assert!(few.is_empty());
    }
}
