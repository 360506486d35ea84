//! What the streams of a swarm report: when each had acknowledged what is being waited for. Written by all of them at once, so nothing here
//! is behind a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Sequence numbers of edits, which travel as ports.
pub(super) const SEQUENCES: usize = 60_000;

/// Milliseconds up to which latencies of a flow of edits are told apart.
const BUCKETS: usize = 60_000;

/// Where streams write and the benchmark reads.
#[derive(Debug)]
pub(super) struct Board {
    started: Instant,
    /// For each stream, when it had what is waited for, in nanoseconds since the start; 0 before.
    reached: Vec<AtomicU64>,
    count: AtomicUsize,
    /// When each numbered edit was written.
    written: Vec<AtomicU64>,
    /// How many arrivals of numbered edits took so many milliseconds.
    latencies: Vec<AtomicU64>,
    pub(super) responses: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Board {
    pub(super) fn new(streams: usize) -> Self {
        let zeros = |count| std::iter::repeat_with(AtomicU64::default).take(count).collect();
        Self {
            started: Instant::now(),
            reached: zeros(streams),
            count: AtomicUsize::new(0),
            written: zeros(SEQUENCES),
            latencies: zeros(BUCKETS),
            responses: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// Begins to wait for all streams anew.
    pub(super) fn reset(&self) -> Instant {
        self.count.store(0, Ordering::SeqCst);
        for slot in &self.reached {
            slot.store(0, Ordering::SeqCst);
        }
        Instant::now()
    }

    /// A stream has what is waited for.
    pub(super) fn reach(&self, stream: usize) {
        let Some(slot) = self.reached.get(stream) else { return };
        if slot.compare_exchange(0, self.now(), Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How many streams have.
    pub(super) fn reached(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// How long each stream took since `from`.
    pub(super) fn times(&self, from: Instant) -> Vec<Duration> {
        let from = from.saturating_duration_since(self.started);
        let times = self.reached.iter().map(|slot| slot.load(Ordering::SeqCst)).filter(|nanos| *nanos > 0);
        times.map(|nanos| Duration::from_nanos(nanos).saturating_sub(from)).collect()
    }

    /// An edit with this number is about to be written.
    pub(super) fn write(&self, sequence: usize) {
        if let Some(slot) = self.written.get(sequence) {
            slot.store(self.now(), Ordering::SeqCst);
        }
    }

    /// A stream has acknowledged the edit with this number.
    pub(super) fn arrive(&self, sequence: usize) {
        let written = self.written.get(sequence).map_or(0, |slot| slot.load(Ordering::SeqCst));
        if written == 0 {
            return;
        }
        let millis = usize::try_from(self.now().saturating_sub(written) / 1_000_000).unwrap_or(usize::MAX);
        if let Some(bucket) = self.latencies.get(millis.min(BUCKETS - 1)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many arrivals of numbered edits there were.
    pub(super) fn arrivals(&self) -> u64 {
        self.latencies.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The time in which this share of the numbered edits arrived.
    pub(super) fn latency(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are far below 2^52"
        )]
        let rank = (self.arrivals() as f64 * share).ceil() as u64;
        let mut below = 0;
        let found = self.latencies.iter().position(|bucket| {
            below += bucket.load(Ordering::Relaxed);
            below >= rank
        });
        // A bucket holds what took at least its number and less than one more.
        Duration::from_millis(found.map_or(0, |millis| millis as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_counts_once_a_round() {
        let board = Board::new(3);
        let from = board.reset();
        board.reach(1);
        board.reach(1);
        board.reach(7);
        assert_eq!((board.reached(), board.times(from).len()), (1, 1));
        board.reset();
        assert_eq!(board.reached(), 0);
    }

    #[test]
    fn only_edits_that_were_written_arrive() {
        let board = Board::new(1);
        board.arrive(5);
        assert_eq!(board.arrivals(), 0);
        board.write(5);
        board.arrive(5);
        assert_eq!(board.arrivals(), 1);
        assert!(board.latency(0.99) >= Duration::from_millis(1));
    }
}
