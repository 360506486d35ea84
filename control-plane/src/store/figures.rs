//! How long changes of a directory wait, and whether what stands in it is in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::histogram::Histogram;

/// Counted since this process started, but for what is so at present.
#[derive(Debug, Default)]
pub struct Figures {
    /// From when a change was noticed until it was quiet and everything had been read.
    pub debounce: Arc<Histogram>,
    /// From when a change was noticed until it was in force.
    pub lag: Arc<Histogram>,
    refusals: AtomicU64,
    refused: AtomicBool,
}

impl Figures {
    /// What was found can't be taken into force.
    pub(super) fn refuse(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.refused.store(true, Ordering::Relaxed);
    }

    /// What stands in the directory is in force.
    pub(super) fn mend(&self) {
        self.refused.store(false, Ordering::Relaxed);
    }

    /// How often what was found could not be taken into force.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Whether what stands in the directory now is not in force.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}
