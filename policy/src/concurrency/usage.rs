//! How much of a rule is in use, over all keys and workers, for those who watch it.
//!
//! The records of what is in flight can't say: a rule with key has thousands of them, and they count places that workers keep, too. So each worker counts its own requests and tells one
//! record of them, under the name of its VM: what a VM that broke down had told is counted no more when the VM is known to be gone.

use super::MAX_RECORD;
use super::place::{Place, places};
use super::room::Room;
use crate::presence::{Owner, Presence};
use crate::record::Reader;
use crate::store::{CasError, Store, StoreError};
use crate::table::{ATTEMPTS, Access, ONLY, Table};
use crate::turn::Turn;

/// A share in use is remembered for so long, at most twice: longer than it takes until somebody looks.
const TURN: u64 = 5_000_000_000;

/// What is in use of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    /// Requests in flight, of all keys and workers.
    pub(crate) in_flight: u32,
    /// The limit of the key that was most in use when a worker told last; 0: none was.
    pub(crate) limit: u32,
    /// The largest share in use of one key's limit lately, in hundredths of a percent.
    pub(crate) share: u16,
}

/// What this worker knows of a rule's use.
#[derive(Debug)]
pub(super) struct Usage {
    table: Table,
    /// Requests of this engine.
    in_flight: u32,
    /// How many of them are recorded, and under which name.
    told: Option<(Owner, u32)>,
    /// The largest share in use since then, and of which limit.
    share: u16,
    limit: u32,
}

/// What all workers have told.
#[derive(Debug, PartialEq, Eq, Default)]
struct Told {
    shares: Turn<u16>,
    limit: u32,
    places: Vec<Place>,
}

impl Usage {
    pub(super) fn new(policy: &str, rule: &str) -> Self {
        let table = Table::new("usage", policy, rule, None);
        Self { table, in_flight: 0, told: None, share: 0, limit: 0 }
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// A request has found this.
    pub(super) fn found(&mut self, room: &Room) {
        let share = room.share();
        if share > self.share {
            (self.share, self.limit) = (share, room.limit);
        }
    }

    /// A request was counted.
    pub(super) const fn begin(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// A request that was counted is over.
    pub(super) const fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Tells what this worker has to tell, and says what is in use.
    pub(super) fn take<S>(
        &mut self,
        presence: &mut Presence,
        access: &mut Access<'_, S>,
    ) -> Result<Use, StoreError>
    where
        S: Store + ?Sized,
    {
        let owner = presence.owner(access.store)?;
        // What was told under another name is counted no more: the VM was taken for gone.
        let known = self.told.filter(|(by, _)| *by == owner).map_or(0, |(_, count)| count);
        for _ in 0..ATTEMPTS {
            let version = self.table.read(ONLY, access)?;
            let mut told = Told::decode(access.bytes);
            told.places.retain(|place| !presence.is_gone(place.owner));
            told.shares.advance(access.now / TURN);
            let is_news = self.share > 0 || self.in_flight != known;
            if is_news {
                told.shares.current = told.shares.current.max(self.share);
                if self.share > 0 {
                    told.limit = self.limit;
                }
                told.count(owner, known, self.in_flight);
            }
            let places = told.places.iter();
            let in_flight = places.fold(0, |sum: u32, place| sum.saturating_add(place.count));
            let share = told.shares.current.max(told.shares.before);
            let found = Use { in_flight, limit: told.limit, share };
            // With more workers than fit into a record some are not counted.
            if !is_news || !told.encode(access.bytes) {
                return Ok(found);
            }
            match self.table.write(ONLY, version, access) {
                Ok(()) => {
                    self.told = Some((owner, self.in_flight));
                    self.share = 0;
                    return Ok(found);
                }
                Err(CasError::Conflict) => {}
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }
}

impl Told {
    /// Of an owner's requests so many were counted, and are so many now. Engines of one VM have one place.
    fn count(&mut self, owner: Owner, known: u32, now: u32) {
        let index = self.places.iter().position(|place| place.owner == owner).unwrap_or_else(|| {
            self.places.push(Place { fingerprint: ONLY.fingerprint, owner, count: 0 });
            self.places.len() - 1
        });
        if let Some(place) = self.places.get_mut(index) {
            place.count = place.count.saturating_add(now).saturating_sub(known);
        }
    }

    /// Says whether it fits into a record.
    fn encode(&self, bytes: &mut Vec<u8>) -> bool {
        let Self { shares: Turn { number, current, before }, limit, places } = self;
        bytes.clear();
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&current.to_le_bytes());
        bytes.extend_from_slice(&before.to_le_bytes());
        bytes.extend_from_slice(&limit.to_le_bytes());
        for place in places {
            place.encode(false, bytes);
        }
        bytes.len() <= MAX_RECORD
    }

    fn decode(bytes: &[u8]) -> Self {
        const HEAD: usize = 8 + 2 + 2 + 4;
        let mut reader = Reader::new(bytes);
        let mut head = || {
            let number = reader.u64()?;
            let current = reader.take().map(u16::from_le_bytes)?;
            let before = reader.take().map(u16::from_le_bytes)?;
            Some((Turn { number, current, before }, reader.u32()?))
        };
        let Some((shares, limit)) = head() else { return Self::default() };
        let places = places(bytes.get(HEAD..).unwrap_or_default(), false).collect();
        Self { shares, limit, places }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_record_is_survived(record in proptest::collection::vec(any::<u8>(), 0..800)) {
            let told = Told::decode(&record);
            prop_assert!(told.places.len() <= record.len() / 7);
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_has_a_bound() {
        let place = |seat: u8| Place {
            fingerprint: ONLY.fingerprint,
            owner: Owner::from_bytes([seat, 1, 0]),
            count: 7,
        };
        let shares = Turn { number: 9, current: 5_000, before: 10_000 };
        let mut told = Told { shares, limit: 12, places: (0..100).map(place).collect() };
        let mut bytes = Vec::new();
        assert!(told.encode(&mut bytes));
        assert_eq!(Told::decode(&bytes), told);
        told.places.extend((100..200).map(place));
        assert!(!told.encode(&mut bytes));
    }
}
