//! How long things took, counted in ranges.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics;

/// The upper ends of the ranges in milliseconds: what a person notices, and what an Envoy gives up after, lie inside.
pub const BOUNDS: [u64; 13] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 2_500, 10_000, 30_000];

/// Counts of times by their length. Counting waits for nobody.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By range; what is longer than the last is in the sum and the count alone.
    ranges: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    nanoseconds: AtomicU64,
    also: OnceLock<(metrics::Histogram<f64>, Vec<KeyValue>)>,
}

/// What a [`Histogram`] has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// For each of [`BOUNDS`], how many took at most so long.
    pub at_most: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long all of them took together.
    pub sum: Duration,
}

impl Histogram {
    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        let range = BOUNDS.iter().position(|bound| took <= Duration::from_millis(*bound));
        if let Some(range) = range.and_then(|at| self.ranges.get(at)) {
            range.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        if let Some((exported, attributes)) = self.also.get() {
            exported.record(took.as_secs_f64(), attributes);
        }
    }

    /// From now on what is observed is also told to this. Only the first call counts.
    pub fn export(&self, exported: metrics::Histogram<f64>, attributes: Vec<KeyValue>) {
        let _ = self.also.set((exported, attributes));
    }

    /// What was observed so far.
    pub fn read(&self) -> Times {
        let mut below = 0;
        let at_most = self.ranges.each_ref().map(|range| {
            below += range.load(Ordering::Relaxed);
            below
        });
        Times {
            at_most,
            // Both are read without a lock: a time that is being counted must not be in a range and not in the sum of them.
            count: self.count.load(Ordering::Relaxed).max(below),
            sum: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_by_their_length() {
        let histogram = Histogram::default();
        for milliseconds in [0, 1, 2, 3, 30_000, 40_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let Times { at_most, count, sum } = histogram.read();
        assert_eq!((at_most[0], at_most[1], at_most[2], at_most[3]), (2, 3, 4, 4));
        assert_eq!((at_most[BOUNDS.len() - 1], count), (5, 6));
        assert_eq!(sum, Duration::from_millis(70_006));
    }
}
