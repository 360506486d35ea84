//! What publishing has taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters of snapshots that were built. Whoever builds them counts; `/metrics` reads.
#[derive(Debug, Default)]
pub struct Figures {
    builds: AtomicU64,
    nanoseconds: AtomicU64,
    last: AtomicU64,
}

impl Figures {
    /// The snapshots of all fleets were built from new documents, and that took so long.
    pub fn built(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.builds.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.last.store(nanoseconds, Ordering::Relaxed);
    }

    /// How often, how long in all, and how long the last time.
    pub(super) fn read(&self) -> (u64, Duration, Duration) {
        let duration = |value: &AtomicU64| Duration::from_nanos(value.load(Ordering::Relaxed));
        (self.builds.load(Ordering::Relaxed), duration(&self.nanoseconds), duration(&self.last))
    }
}
