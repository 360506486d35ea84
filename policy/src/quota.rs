//! The arithmetic of a token bucket, in integers: nothing is ever rounded, so nothing drifts.
//!
//! The unit is the 3,600,000,000,000th part of a token, the number of nanoseconds in an hour: at any rate of whole tokens per second, minute or
//! hour, a whole number of units flows in each nanosecond. A full bucket of 2^32 tokens is 2^74 units, and 2^64 nanoseconds of the highest
//! rate are 2^108, so 128 bits never overflow.

use std::num::NonZeroU32;

use crate::unit::Rate;

const UNITS_PER_TOKEN: u64 = 3_600_000_000_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A lease is so many nanoseconds' worth of tokens: short against a second, long against what a request costs.
const LEASE_SPAN: u64 = 5_000_000;

/// How fast tokens flow in and how many stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    units_per_nano: u64,
    burst: u32,
}

/// What is in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Level(u128);

impl Quota {
    /// Where no burst is given, it is one second of `rate`, at least 1.
    pub(crate) fn new(rate: Rate, burst: Option<NonZeroU32>) -> Self {
        let amount = u64::from(rate.amount().get());
        let second = amount * NANOS_PER_SECOND / rate.period_nanos();
        let burst = burst.map_or_else(|| u32::try_from(second).unwrap_or(u32::MAX).max(1), NonZeroU32::get);
        Self { units_per_nano: amount * (UNITS_PER_TOKEN / rate.period_nanos()), burst }
    }

    /// From what [`Quota::raw`] gave; `None` where that can't be.
    pub(crate) fn from_raw(units_per_nano: u64, burst: u32) -> Option<Self> {
        (units_per_nano > 0 && units_per_nano <= 1 << 44 && burst > 0)
            .then_some(Self { units_per_nano, burst })
    }

    /// As two numbers for a record.
    pub(crate) const fn raw(self) -> (u64, u32) {
        (self.units_per_nano, self.burst)
    }

    /// The tokens in a full bucket.
    pub(crate) const fn burst(self) -> u32 {
        self.burst
    }

    /// A full bucket.
    pub(crate) fn full(self) -> Level {
        Level::tokens(self.burst)
    }

    /// `level` after `nanos`.
    pub(crate) fn refill(self, level: Level, nanos: u64) -> Level {
        let inflow = u128::from(nanos) * u128::from(self.units_per_nano);
        Level(level.0.saturating_add(inflow)).min(self.full())
    }

    /// Nanoseconds until `level` has grown to so many tokens.
    pub(crate) fn wait(self, level: Level, tokens: u32) -> u64 {
        let missing = Level::tokens(tokens).0.saturating_sub(level.0);
        u64::try_from(missing.div_ceil(u128::from(self.units_per_nano))).unwrap_or(u64::MAX)
    }

    /// How many tokens a worker takes at once: [`LEASE_SPAN`]'s worth, never more than 1 % of the burst, at least one.
    pub(crate) fn lease(self) -> u32 {
        let span = u128::from(LEASE_SPAN) * u128::from(self.units_per_nano) / u128::from(UNITS_PER_TOKEN);
        u32::try_from(span).unwrap_or(u32::MAX).min(self.burst / 100).max(1)
    }
}

impl Level {
    /// So many whole tokens.
    pub(crate) fn tokens(count: u32) -> Self {
        Self(u128::from(count) * u128::from(UNITS_PER_TOKEN))
    }

    /// The whole tokens in it.
    pub(crate) fn whole(self) -> u32 {
        u32::try_from(self.0 / u128::from(UNITS_PER_TOKEN)).unwrap_or(u32::MAX)
    }

    /// Without so many tokens; `None` where there are not so many.
    pub(crate) fn take(self, tokens: u32) -> Option<Self> {
        self.0.checked_sub(Self::tokens(tokens).0).map(Self)
    }

    /// With so many tokens more, as far as `quota` has room.
    pub(crate) fn give(self, tokens: u32, quota: Quota) -> Self {
        Self(self.0.saturating_add(Self::tokens(tokens).0)).min(quota.full())
    }

    /// The ten bytes that every level fits in.
    pub(crate) fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes.iter_mut().zip(self.0.to_le_bytes()).for_each(|(to, from)| *to = from);
        bytes
    }

    /// From [`Level::to_bytes`].
    pub(crate) fn from_bytes(bytes: [u8; 10]) -> Self {
        let mut wide = [0; 16];
        wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Self(u128::from_le_bytes(wide))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_rule_can_say_is_no_quota() {
        for (units, burst) in [(0, 1), (1, 0), ((1 << 44) + 1, 1)] {
            assert_eq!(Quota::from_raw(units, burst), None, "{units} {burst}");
        }
        assert!(Quota::from_raw(1 << 44, 1).is_some());
    }

    fn quota(rate: &str, burst: u32) -> Quota {
        Quota::new(rate.parse().unwrap(), NonZeroU32::new(burst))
    }

    #[test]
    fn burst_is_one_second_of_rate_where_not_given() {
        for (rate, burst) in [
            ("100/s", 100),
            ("6000/m", 100),
            ("10/h", 1),
            ("1/s", 1),
            ("90/m", 1),
            ("4294967295/s", u32::MAX),
        ] {
            assert_eq!(Quota::new(rate.parse().unwrap(), None).full().whole(), burst, "{rate}");
        }
    }

    #[test]
    fn the_slowest_rate_gives_its_token_after_an_hour_and_not_before() {
        let slow = quota("1/h", 5);
        let hour = 3_600_000_000_000;
        assert_eq!(slow.refill(Level::default(), hour - 1).whole(), 0);
        assert_eq!(slow.refill(Level::default(), hour).whole(), 1);
        assert_eq!(slow.wait(Level::default(), 1), hour);
        assert_eq!(slow.refill(Level::default(), u64::MAX), slow.full());
    }

    #[test]
    fn the_fastest_rate_gives_four_tokens_a_nanosecond() {
        let fast = quota("4294967295/s", u32::MAX);
        assert_eq!(fast.refill(Level::default(), 1).whole(), 4);
        assert_eq!(fast.refill(Level::default(), 1_000_000_000), fast.full());
        assert_eq!(fast.wait(Level::default(), 1), 1);
        assert_eq!(fast.refill(fast.full(), u64::MAX), fast.full());
    }

    #[test]
    fn many_small_steps_give_what_one_big_step_gives() {
        for rate in ["7/s", "11/m", "13/h", "999983/s"] {
            let quota = quota(rate, u32::MAX);
            let steps = (1..2_000).fold(Level::default(), |level, nanos| quota.refill(level, nanos));
            assert_eq!(steps, quota.refill(Level::default(), (1..2_000).sum()), "{rate}");
        }
    }

    #[test]
    fn a_lease_is_a_few_milliseconds_worth_and_a_hundredth_of_the_burst_at_most() {
        assert_eq!(quota("20000/s", 20_000).lease(), 100, "five milliseconds");
        assert_eq!(quota("20000/s", 2_000).lease(), 20, "a hundredth of the burst");
        assert_eq!(quota("100/s", 100_000).lease(), 1, "never none");
        assert_eq!(quota("100000/s", 10).lease(), 1);
    }

    #[test]
    fn levels_survive_their_bytes() {
        for level in
            [Level::default(), Level(1), Level::tokens(u32::MAX), Level(Level::tokens(u32::MAX).0 - 1)]
        {
            assert_eq!(Level::from_bytes(level.to_bytes()), level);
        }
    }
}
