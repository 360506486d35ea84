//! How many of a rule's breakers are open and how many half-open, over all workers, for those who watch it.
//!
//! They are counted in the breakers' own records, each time, so that nothing which was lost on the way is wrong for ever. A rule with key has a thousand records, too many to read just to see
//! that: so whoever writes that a breaker opened marks the record with its next tick, and only marked records are read. Who finds nothing but closed breakers in one takes its mark away. A mark
//! that is missing all the same, because its worker broke down before it could tell, is found by reading a few records more each time, until all have been read.

use super::RECORDS;
use super::cell::Cell;
use super::record::{WAYS, decode};
use crate::decision::BreakerState;
use crate::record::Reader;
use crate::store::{CasError, Store, StoreError, Version};
use crate::table::{ATTEMPTS, Access, ONLY, Slot, Table};

/// Records without a mark that each count reads: with two counts a second all have been read after two minutes.
const MORE: u16 = 4;

const WORDS: usize = (RECORDS / 64) as usize;

/// How many breakers are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) open: u32,
    pub(crate) half_open: u32,
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

    fn read<S>(records: &mut Table, record: u16, access: &mut Access<'_, S>) -> Result<Self, StoreError>
    where
        S: Store + ?Sized,
    {
        records.read(Slot { record, ..ONLY }, access)?;
        let ways = if records.is_keyed() { WAYS } else { 1 };
        let cells = decode(access.bytes, ways);
        Ok(cells.as_ref().and_then(|cells| cells.get(..ways)).map(Self::of).unwrap_or_default())
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            open: self.open.saturating_add(other.open),
            half_open: self.half_open.saturating_add(other.half_open),
        }
    }
}

/// Some of a table's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marks([u64; WORDS]);

impl Marks {
    fn add(&mut self, record: u16) {
        if let Some(word) = self.0.get_mut(usize::from(record / 64)) {
            *word |= 1 << (record % 64);
        }
    }

    fn add_all(&mut self, others: &Self) {
        for (word, other) in self.0.iter_mut().zip(others.0) {
            *word |= other;
        }
    }

    /// Takes the first.
    fn pop(&mut self) -> Option<u16> {
        let (index, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros();
        *word &= *word - 1;
        u16::try_from(index * 64 + bit as usize).ok()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.extend(self.0.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// None, where a record is damaged or there is none.
    fn decode(bytes: &[u8]) -> Self {
        let mut reader = Reader::new(bytes);
        let mut marks = Self::default();
        for word in &mut marks.0 {
            let Some(read) = reader.u64() else { return Self::default() };
            *word = read;
        }
        if reader.is_at_end() { marks } else { Self::default() }
    }
}

/// What a worker does to count a rule's breakers.
#[derive(Debug)]
pub(super) struct Census {
    /// Where the marks are; `None`: the rule has one record.
    marks: Option<Table>,
    /// Marks that this worker has to set.
    news: Option<Box<Marks>>,
    /// The count under way.
    round: Option<Box<Round>>,
    /// Where the next count reads more than is marked.
    more: u16,
}

/// A count under way.
#[derive(Debug)]
struct Round {
    version: Option<Version>,
    marked: Marks,
    /// Records that are still to be read.
    left: Marks,
    /// Those in which not all are closed.
    found: Marks,
    count: Count,
}

impl Census {
    pub(super) fn new(policy: &str, rule: &str, keyed: bool) -> Self {
        let marks = keyed.then(|| Table::new("marks", policy, rule, None));
        Self { marks, news: None, round: None, more: 0 }
    }

    pub(super) const fn table(&self) -> Option<&Table> {
        self.marks.as_ref()
    }

    /// This worker has written a record that counted so many before, and now counts so many.
    pub(super) fn note(&mut self, record: u16, before: Count, now: Count) {
        if self.marks.is_some() && now != before && now != Count::default() {
            self.news.get_or_insert_default().add(record);
        }
    }

    pub(super) const fn has_news(&self) -> bool {
        self.news.is_some()
    }

    /// Sets the marks that this worker has to set.
    pub(super) fn tell<S>(&mut self, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let (Some(table), Some(news)) = (&mut self.marks, &self.news) else { return Ok(()) };
        for _ in 0..ATTEMPTS {
            let version = table.read(ONLY, access)?;
            let mut marks = Marks::decode(access.bytes);
            marks.add_all(news);
            // Also where that changes nothing: who has read the record before, and is about to take its mark away, has to notice.
            marks.encode(access.bytes);
            match table.write(ONLY, version, access) {
                Ok(()) => {
                    self.news = None;
                    return Ok(());
                }
                Err(CasError::Conflict) => {}
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }

    /// How many there are, counted in `records`; `None`: not done after so many reads, go on with the next call.
    pub(super) fn count<S>(
        &mut self,
        records: &mut Table,
        reads: &mut usize,
        access: &mut Access<'_, S>,
    ) -> Result<Option<Count>, StoreError>
    where
        S: Store + ?Sized,
    {
        let mut read = || reads.checked_sub(1).map(|left| *reads = left).is_some();
        let Some(table) = &mut self.marks else {
            return if read() { Count::read(records, 0, access).map(Some) } else { Ok(None) };
        };
        let mut round = match self.round.take() {
            Some(round) => round,
            None if !read() => return Ok(None),
            None => {
                let version = table.read(ONLY, access)?;
                let marked = Marks::decode(access.bytes);
                let mut left = marked;
                (self.more..self.more.saturating_add(MORE)).for_each(|record| left.add(record));
                let (found, count) = (Marks::default(), Count::default());
                Box::new(Round { version, marked, left, found, count })
            }
        };
        loop {
            let mut left = round.left;
            let Some(record) = left.pop() else { break };
            if !read() {
                self.round = Some(round);
                return Ok(None);
            }
            let count = Count::read(records, record, access)?;
            round.left = left;
            round.count = round.count.plus(count);
            if count != Count::default() {
                round.found.add(record);
            }
        }
        if round.found != round.marked {
            round.found.encode(access.bytes);
            match table.write(ONLY, round.version, access) {
                Ok(()) => {}
                // Somebody has set a mark meanwhile. The next count starts from that, and reads the same records besides.
                Err(CasError::Conflict) => return Ok(Some(round.count)),
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        self.more = (self.more + MORE) % RECORDS;
        Ok(Some(round.count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marks(records: &[u16]) -> Marks {
        let mut marks = Marks::default();
        for record in records {
            marks.add(*record);
        }
        marks
    }

    proptest! {
        #[test]
        fn any_record_is_survived(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            let marks = Marks::decode(&record);
            prop_assert!(record.len() == WORDS * 8 || marks == Marks::default());
        }
    }

    #[test]
    fn marks_survive_their_record_and_come_out_in_order() {
        let mut marks = marks(&[1_023, 0, 64, 63, 64, RECORDS]);
        let mut bytes = vec![9];
        marks.encode(&mut bytes);
        assert_eq!(Marks::decode(&bytes), marks);
        let popped: Vec<_> = std::iter::from_fn(|| marks.pop()).collect();
        assert_eq!(popped, [0, 63, 64, 1_023], "and none that is no record");
    }
}
