//! Places that a worker keeps for its next requests.

use crate::presence::Owner;

/// A worker keeps this part of what is free for its next requests.
const SHARE: u32 = 16;

/// Places that the store counts for this worker and that are free.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spare {
    pub(super) owner: Owner,
    pub(super) count: u32,
    /// The fewest since the last tick: so many were not needed.
    pub(super) least: u32,
    /// What the store counted last, these included.
    pub(super) total: u32,
}

impl Spare {
    /// What the store counted last, without these.
    pub(super) const fn in_flight(&self) -> u32 {
        self.total.saturating_sub(self.count)
    }

    /// How many places a worker may keep.
    pub(super) const fn allowed(&self, limit: u32) -> u32 {
        limit.saturating_sub(self.in_flight()) / SHARE
    }
}
