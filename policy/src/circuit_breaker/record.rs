//! What is kept of a rule's keys in one record: a few places, each for one key's breaker.

use super::cell::{Cell, Terms};
use crate::record::Reader;

/// Places in a record.
pub(super) const WAYS: usize = 4;

/// What to do about a key that has no breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Create,
    Ignore,
}

/// A key's breaker among those of a record; whether it is new.
pub(super) fn find<'c>(
    cells: &'c mut [Cell],
    fingerprint: u64,
    unknown: Unknown,
    terms: &Terms,
    now: u64,
) -> Option<(&'c mut Cell, bool)> {
    if let Some(index) = cells.iter().position(|cell| cell.fingerprint == fingerprint) {
        return cells.get_mut(index).map(|cell| (cell, false));
    }
    if unknown == Unknown::Ignore {
        return None;
    }
    let worth = |cell: &mut Cell| cell.worth(terms, now);
    let with_worth = cells.iter_mut().filter_map(|cell| worth(cell).map(|worth| (worth, cell)));
    let (_, cell) = with_worth.min_by_key(|(worth, _)| *worth)?;
    *cell = Cell::new(fingerprint, terms.part, now);
    Some((cell, true))
}

/// The breakers of a record; `None` where it is damaged or there is none.
pub(super) fn decode(bytes: &[u8], ways: usize) -> Option<[Cell; WAYS]> {
    let mut reader = Reader::new(bytes);
    let mut cells = [Cell::new(0, 1, 0); WAYS];
    for cell in cells.iter_mut().take(ways) {
        *cell = Cell::decode(&mut reader)?;
    }
    reader.is_at_end().then_some(cells)
}
