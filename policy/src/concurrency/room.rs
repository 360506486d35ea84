//! What a request finds, and what it is given.

use crate::presence::Owner;
use crate::table::Slot;

/// A request's place in the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(super) slot: Slot,
    pub(super) owner: Owner,
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    /// At this moment.
    pub(crate) now: u32,
    /// Ordinarily: an adaptive limit is halved for a moment, now and then, and says nothing about the upstream by that.
    pub(super) whole: u32,
}

/// What a request finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(super) slot: Slot,
    pub(crate) limit: Limits,
    pub(super) owner: Owner,
    /// In flight, this request included.
    pub(crate) count: u32,
}

impl Room {
    /// The share in use with this request, in hundredths of a percent.
    pub(crate) fn share(&self) -> u16 {
        share(self.count, self.limit.whole)
    }

    pub(super) const fn is_full(&self) -> bool {
        self.count > self.limit.now
    }
}

/// So many of so many, in hundredths of a percent.
pub(super) fn share(count: u32, limit: u32) -> u16 {
    let share = u64::from(count) * 10_000 / u64::from(limit.max(1));
    u16::try_from(share).unwrap_or(u16::MAX)
}

/// As many are in flight as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ONLY;

    #[test]
    fn the_share_in_use_is_a_share() {
        assert_eq!([share(3, 10), share(10, 10), share(1, 3), share(2, 0)], [3_000, 10_000, 3_333, 20_000]);
        let limit = Limits { now: 5, whole: 10 };
        let room = Room { slot: ONLY, limit, owner: Owner::default(), count: 6 };
        assert_eq!((room.share(), room.is_full()), (6_000, true), "halved only to measure");
    }
}
