//! How many of a rule's breakers are open and how many half-open, over all workers, for those who watch it.
//!
//! A rule with key has a thousand records, too many to read just to see that. So whoever writes a record takes note of what that changed, be it that a breaker opened or that an open one
//! of which nobody has heard for long made way for another key's, and adds it to one count with its next tick. Each change is written by one worker, and counted by that one.

use super::cell::Cell;
use crate::decision::BreakerState;
use crate::record::Reader;
use crate::store::{CasError, Store, StoreError};
use crate::table::{ATTEMPTS, Access, ONLY, Table};

/// How many breakers are in which state, or how much that has changed: one worker may tell that a breaker is no more open before another tells that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) open: i32,
    pub(crate) half_open: i32,
}

impl Count {
    /// Of a record.
    pub(super) fn of(cells: &[Cell]) -> Self {
        cells.iter().fold(Self::default(), |Self { open, half_open }, cell| match cell.state.kind() {
            BreakerState::Closed => Self { open, half_open },
            BreakerState::Open => Self { open: open + 1, half_open },
            BreakerState::HalfOpen => Self { open, half_open: half_open + 1 },
        })
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            open: self.open.saturating_add(other.open),
            half_open: self.half_open.saturating_add(other.half_open),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            open: self.open.saturating_sub(other.open),
            half_open: self.half_open.saturating_sub(other.half_open),
        }
    }

    fn encode(self, bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.extend_from_slice(&self.open.to_le_bytes());
        bytes.extend_from_slice(&self.half_open.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let count = Self {
            open: reader.take().map(i32::from_le_bytes)?,
            half_open: reader.take().map(i32::from_le_bytes)?,
        };
        reader.is_at_end().then_some(count)
    }
}

/// A rule's count, and what this worker has to add to it.
#[derive(Debug)]
pub(super) struct Census {
    table: Table,
    news: Count,
}

impl Census {
    pub(super) fn new(policy: &str, rule: &str) -> Self {
        Self { table: Table::new("census", policy, rule, None), news: Count::default() }
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// This worker has written a record that counted so many before, and now counts so many.
    pub(super) const fn note(&mut self, before: Count, now: Count) {
        self.news = self.news.plus(now).minus(before);
    }

    pub(super) fn has_news(&self) -> bool {
        self.news != Count::default()
    }

    /// Adds what this worker has to add, and says how many there are.
    pub(super) fn take<S>(&mut self, access: &mut Access<'_, S>) -> Result<Count, StoreError>
    where
        S: Store + ?Sized,
    {
        for _ in 0..ATTEMPTS {
            let version = self.table.read(ONLY, access)?;
            let count = Count::decode(access.bytes).unwrap_or_default().plus(self.news);
            if !self.has_news() {
                return Ok(count);
            }
            count.encode(access.bytes);
            match self.table.write(ONLY, version, access) {
                Ok(()) => {
                    self.news = Count::default();
                    return Ok(count);
                }
                Err(CasError::Conflict) => {}
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_survives_its_record_and_nothing_else_is_one() {
        let count = Count { open: 3, half_open: -1 };
        let mut bytes = vec![9];
        count.encode(&mut bytes);
        assert_eq!(Count::decode(&bytes), Some(count));
        assert_eq!([Count::decode(&bytes[..7]), Count::decode(&[0]), Count::decode(&[0; 9])], [None; 3]);
    }
}
