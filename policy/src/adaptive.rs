//! A concurrency limit that finds itself from latency, after the *gradient* of Netflix'
//! [concurrency-limits](https://github.com/Netflix/concurrency-limits) and of Envoy's adaptive concurrency filter.
//!
//! Latencies are averaged over windows of a quarter of a second. As long as a window's average is no more than half above the *base*, the latency of an upstream without a queue, and the
//! limit is in use, the limit grows by its square root. Above that it shrinks in proportion, at most by half.
//!
//! What the base is must be found again and again: an upstream that is slower than before looks like one with a queue. The others stop (almost) all traffic
//! to measure it. Here, every ten seconds, half a second passes with *half* the limit: if latency falls, there was a queue, and what is left is nearer to
//! the base; if not, this is the base. Half the limit of an upstream without a queue is still no queue, and a limit that is less than twice too high is found at
//! once; a higher one in a few rounds.

use crate::record::Reader;

const WINDOW: u64 = 250_000_000;
/// A window with fewer answers than this goes on, up to [`LONGEST`].
const ENOUGH: u32 = 10;
const LONGEST: u64 = 2_000_000_000;
/// Between two measurements of the base.
const EPOCH: u64 = 10_000_000_000;
/// Limits are kept in 1024ths.
const SCALE: u64 = 1024;

/// The bounds of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// Answers that have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sample {
    pub(crate) count: u32,
    /// Nanoseconds.
    pub(crate) sum: u64,
    /// The most that were in flight at once.
    pub(crate) peak: u32,
}

impl Sample {
    pub(crate) fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.peak = self.peak.max(other.peak);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The limit is as it is.
    Whole,
    /// Half of it, while what was admitted before comes back.
    Settling,
    /// Half of it; the window's average will be the base.
    Measuring,
}

/// A limit and what it was found from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Estimate {
    limit: u64,
    /// 0: not known yet.
    base: u64,
    /// The least average since the epoch began; 0: none.
    least: u64,
    epoch: u64,
    window: u64,
    sample: Sample,
    phase: Phase,
}

impl Estimate {
    #[cfg(test)]
    const LENGTH: usize = 5 * 8 + 4 + 8 + 4 + 1;

    /// Nothing is known yet: the least that is allowed.
    pub(crate) fn new(bounds: Bounds, now: u64) -> Self {
        let limit = u64::from(bounds.min) * SCALE;
        let sample = Sample::default();
        Self { limit, base: 0, least: 0, epoch: now, window: now, sample, phase: Phase::Whole }
    }

    /// How many may be in flight now.
    pub(crate) fn limit(&self, bounds: Bounds) -> u32 {
        Self::within(bounds, if self.phase == Phase::Whole { self.limit } else { self.limit / 2 })
    }

    /// The same where no base is looked for: what the upstream is thought to bear.
    pub(crate) fn whole(&self, bounds: Bounds) -> u32 {
        Self::within(bounds, self.limit)
    }

    fn within(bounds: Bounds, limit: u64) -> u32 {
        // Bounds may have been edited since; never none, whatever they are.
        u32::try_from(limit / SCALE).unwrap_or(u32::MAX).clamp(bounds.min, bounds.max.max(bounds.min)).max(1)
    }

    /// Grows with the time of the last answer.
    pub(crate) const fn age_key(&self) -> u64 {
        self.window
    }

    /// Takes note of answers; the limit may change.
    pub(crate) fn observe(&mut self, bounds: Bounds, sample: Sample, now: u64) {
        if now.saturating_add(LONGEST) < self.window {
            // The clock was set back.
            (self.window, self.epoch) = (now, now);
        }
        self.sample.add(sample);
        let age = now.saturating_sub(self.window);
        let closes = age >= WINDOW && (self.sample.count >= ENOUGH || age >= LONGEST);
        if closes && self.sample.count > 0 {
            self.close(bounds, now);
            self.sample = Sample::default();
            self.window = now;
        }
    }

    fn close(&mut self, bounds: Bounds, now: u64) {
        let mean = (self.sample.sum / u64::from(self.sample.count.max(1))).max(1);
        self.phase = match self.phase {
            Phase::Settling => Phase::Measuring,
            Phase::Measuring => {
                self.base = mean;
                (self.epoch, self.least) = (now, 0);
                Phase::Whole
            }
            Phase::Whole => {
                self.adapt(bounds, mean);
                self.measure(now)
            }
        };
    }

    fn is_in_use(&self) -> bool {
        u64::from(self.sample.peak) * SCALE * 2 >= self.limit
    }

    fn adapt(&mut self, bounds: Bounds, mean: u64) {
        self.base = if self.base == 0 { mean } else { self.base.min(mean) };
        self.least = if self.least == 0 { mean } else { self.least.min(mean) };
        let tolerated = u128::from(self.base) * 3 / 2;
        let shrunk = u64::try_from(u128::from(self.limit) * tolerated / u128::from(mean)).unwrap_or(u64::MAX);
        let target = shrunk.clamp(self.limit / 2, self.limit) + (self.limit * SCALE).isqrt();
        // Half of the way: one odd window is only half believed.
        let next = u64::midpoint(self.limit, target);
        // A limit that is not used says nothing about whether a higher one would do.
        let next = if self.is_in_use() { next } else { next.min(self.limit) };
        let (min, max) = (u64::from(bounds.min) * SCALE, u64::from(bounds.max) * SCALE);
        self.limit = next.clamp(min, max.max(min));
    }

    /// Whether it is time to look for the base.
    fn measure(&mut self, now: u64) -> Phase {
        if now.saturating_sub(self.epoch) < EPOCH {
            return Phase::Whole;
        }
        if self.is_in_use() {
            return Phase::Settling;
        }
        // So few are in flight that nothing queues: this is the base.
        self.base = self.least;
        (self.epoch, self.least) = (now, 0);
        Phase::Whole
    }

    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let Self { limit, base, least, epoch, window, sample: Sample { count, sum, peak }, phase } = self;
        for number in [limit, base, least, epoch, window] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes.extend_from_slice(&peak.to_le_bytes());
        bytes.push(*phase as u8);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (limit, base, least) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (epoch, window) = (reader.u64()?, reader.u64()?);
        let sample = Sample { count: reader.u32()?, sum: reader.u64()?, peak: reader.u32()? };
        let phase = match reader.u8()? {
            0 => Phase::Whole,
            1 => Phase::Settling,
            2 => Phase::Measuring,
            _ => return None,
        };
        // More than any bound can be is no limit that was ever written here.
        (limit <= u64::from(u32::MAX) * SCALE).then_some(Self {
            limit,
            base,
            least,
            epoch,
            window,
            sample,
            phase,
        })
    }
}

#[cfg(test)]
mod tests;
