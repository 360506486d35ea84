//! What publishing has taken and how often proxies were sent, have accepted and have refused something, since this process started.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::Histogram;
use crate::resource::Kind;

/// Counters that only grow, but for the time of the last build.
#[derive(Debug, Default)]
pub struct Figures {
    builds: AtomicU64,
    nanoseconds: AtomicU64,
    last: AtomicU64,
    sent: PerKind<AtomicU64>,
    accepted: PerKind<AtomicU64>,
    refused: PerKind<AtomicU64>,
    latencies: PerKind<Arc<Histogram>>,
}

#[derive(Debug, Default)]
struct PerKind<T>([T; Kind::ALL.len()]);

impl<T> PerKind<T> {
    fn of(&self, kind: Kind) -> Option<&T> {
        let at = Kind::ALL.iter().position(|known| *known == kind)?;
        self.0.get(at)
    }
}

impl PerKind<AtomicU64> {
    fn count(&self, kind: Kind) {
        if let Some(counter) = self.of(kind) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self, kind: Kind) -> u64 {
        self.of(kind).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// What was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builds {
    /// How often.
    pub count: u64,
    /// How long it took in all.
    pub total: Duration,
    /// How long it took the last time.
    pub last: Duration,
}

/// What went to proxies and came back, for one kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushes {
    /// Responses sent.
    pub sent: u64,
    /// Responses accepted.
    pub accepted: u64,
    /// Responses refused.
    pub refused: u64,
}

impl Figures {
    /// The snapshots of all fleets were built from new documents, and that took so long.
    pub fn built(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.builds.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.last.store(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, kind: Kind) {
        self.sent.count(kind);
    }

    /// `latency` is how long it took since the response was sent, if it was on this stream.
    pub(super) fn accepted(&self, kind: Kind, latency: Option<Duration>) {
        self.accepted.count(kind);
        if let Some((latencies, latency)) = self.latencies.of(kind).zip(latency) {
            latencies.observe(latency);
        }
    }

    pub(super) fn refused(&self, kind: Kind) {
        self.refused.count(kind);
    }

    /// What was built.
    pub fn builds(&self) -> Builds {
        let duration = |value: &AtomicU64| Duration::from_nanos(value.load(Ordering::Relaxed));
        let count = self.builds.load(Ordering::Relaxed);
        Builds { count, total: duration(&self.nanoseconds), last: duration(&self.last) }
    }

    /// How long proxies take from when a response is handed to the connection until they have accepted it.
    pub fn latencies(&self, kind: Kind) -> Option<&Arc<Histogram>> {
        self.latencies.of(kind)
    }

    /// What went to proxies and came back.
    pub fn pushes(&self, kind: Kind) -> Pushes {
        Pushes {
            sent: self.sent.read(kind),
            accepted: self.accepted.read(kind),
            refused: self.refused.read(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_on_its_own() {
        let figures = Figures::default();
        for kind in Kind::ALL {
            assert_eq!(figures.pushes(kind), Pushes { sent: 0, accepted: 0, refused: 0 });
            figures.sent(kind);
            figures.refused(kind);
            assert_eq!(figures.pushes(kind), Pushes { sent: 1, accepted: 0, refused: 1 });
        }
    }

    #[test]
    fn the_last_build_and_all_of_them_are_known() {
        let figures = Figures::default();
        figures.built(Duration::from_millis(5));
        figures.built(Duration::from_millis(2));
        let expected = Builds { count: 2, total: Duration::from_millis(7), last: Duration::from_millis(2) };
        assert_eq!(figures.builds(), expected);
    }
}
