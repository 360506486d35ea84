//! What a closed breaker counts: the outcomes of the last while, in parts that go out of date one after the other.

use super::Terms;

/// Parts of a window.
pub(super) const PARTS: usize = 10;

/// How many requests ended, and how many of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) total: u32,
    pub(crate) failed: u32,
    pub(crate) slow: u32,
}

impl Tally {
    /// One request.
    pub(crate) const fn one(failed: bool, slow: bool) -> Self {
        Self { total: 1, failed: failed as u32, slow: slow as u32 }
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }

    pub(super) fn trips(self, terms: &Terms) -> bool {
        let reaches = |count: u32, ratio: Option<u16>| {
            let part = |points| u64::from(count) * 10_000 >= u64::from(self.total) * u64::from(points);
            count > 0 && ratio.is_some_and(part)
        };
        let by_ratio = reaches(self.failed, terms.error_ratio) || reaches(self.slow, terms.slow_ratio);
        let by_count = terms.error_count.is_some_and(|count| self.failed >= count);
        by_count || (self.total >= terms.min_requests && by_ratio)
    }
}

/// The last [`PARTS`] parts of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// The length of a part.
    pub(super) part: u64,
    /// The number of the part that `tallies` ends with, counted from time 0.
    pub(super) newest: u64,
    /// Part `n` is at `n % PARTS`.
    pub(super) tallies: [Tally; PARTS],
}

impl Window {
    pub(super) const fn new(part: u64, now: u64) -> Self {
        Self { part, newest: now / part, tallies: [Tally { total: 0, failed: 0, slow: 0 }; PARTS] }
    }

    /// Forgets what is too old. A part length that has changed keeps the counts, at the time they belong to.
    pub(super) fn advance(&mut self, part: u64, now: u64) {
        if self.part != part {
            let mut changed = Self::new(part, now);
            for age in 0..PARTS as u64 {
                let Some(number) = self.newest.checked_sub(age) else { break };
                // The end of a part is its latest outcome's time; never later than now.
                let then = number.saturating_add(1).saturating_mul(self.part).saturating_sub(1).min(now);
                changed.add(then / part, self.tally(number));
            }
            *self = changed;
            return;
        }
        let current = now / part;
        // A worker whose clock is a little behind adds to the newest part; a window from far ahead comes from a clock that was set back.
        if self.newest > current.saturating_add(PARTS as u64) {
            *self = Self::new(part, now);
        }
        for number in self.newest.saturating_add(1)..=current.min(self.newest.saturating_add(PARTS as u64)) {
            *self.tally_mut(number) = Tally::default();
        }
        self.newest = self.newest.max(current);
    }

    fn tally(&self, number: u64) -> Tally {
        self.tallies.get(Self::place(number)).copied().unwrap_or_default()
    }

    fn tally_mut(&mut self, number: u64) -> &mut Tally {
        let [first, rest @ ..] = &mut self.tallies;
        match Self::place(number).checked_sub(1) {
            Some(place) => rest.get_mut(place).unwrap_or(first),
            None => first,
        }
    }

    fn place(number: u64) -> usize {
        // Below ten, so it fits.
        usize::try_from(number % PARTS as u64).unwrap_or(0)
    }

    pub(super) fn add(&mut self, number: u64, tally: Tally) {
        if number <= self.newest && number.saturating_add(PARTS as u64) > self.newest {
            self.tally_mut(number).add(tally);
        }
    }

    /// Everything in it.
    pub(super) fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        self.tallies.iter().for_each(|tally| sum.add(*tally));
        sum
    }
}
