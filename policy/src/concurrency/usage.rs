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

/// The bytes of a record before its places.
const HEAD: usize = 8 + 2 + 2 + 4;

/// VMs that have requests in flight; those of more are not counted.
const MOST: usize = (MAX_RECORD - HEAD) / (Owner::LENGTH + 4);

/// What is in use of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    /// Requests in flight, of all keys and workers.
    pub(crate) in_flight: u32,
    /// The limit of the key that was most in use a moment ago; 0: none was.
    pub(crate) limit: u32,
    /// The largest share in use of one key's limit lately, in hundredths of a percent.
    pub(crate) share: u16,
}

/// What this worker knows of a rule's use.
#[derive(Debug)]
pub(super) struct Usage {
    table: Table,
    /// There are limits of several keys.
    keyed: bool,
    /// Requests of this engine.
    in_flight: u32,
    /// How many of them are recorded, and under which name.
    told: Option<(Owner, u32)>,
    /// The largest share in use since then, and of which limit; one that is halved for a moment counts as what it is ordinarily.
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
    pub(super) fn new(policy: &str, rule: &str, keyed: bool) -> Self {
        let table = Table::new("usage", policy, rule, None);
        Self { table, keyed, in_flight: 0, told: None, share: 0, limit: 0 }
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// A request has found this.
    pub(super) fn found(&mut self, room: &Room) {
        let share = room.share();
        if share > self.share {
            (self.share, self.limit) = (share, room.limit.whole);
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
                // Of several limits, that of the key that is most in use.
                if self.share > 0 && (!self.keyed || self.share >= told.shares.current) {
                    told.limit = self.limit;
                }
                told.shares.current = told.shares.current.max(self.share);
            }
            let counted = told.count(owner, known, self.in_flight);
            let places = told.places.iter();
            let in_flight = places.fold(0, |sum: u32, place| sum.saturating_add(place.count));
            let share = told.shares.current.max(told.shares.before);
            let found = Use { in_flight, limit: told.limit, share };
            if !is_news {
                return Ok(found);
            }
            told.encode(access.bytes);
            match self.table.write(ONLY, version, access) {
                Ok(()) => {
                    self.told = Some((owner, counted));
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
    /// Of an owner's requests so many were counted, and are so many now: how many are counted by that. Engines of one VM have one place; where there is none for it, it is not counted.
    fn count(&mut self, owner: Owner, known: u32, now: u32) -> u32 {
        let found = self.places.iter().position(|place| place.owner == owner);
        let index = found.unwrap_or(self.places.len());
        if found.is_none() {
            if self.places.len() >= MOST {
                return known;
            }
            self.places.push(Place { fingerprint: ONLY.fingerprint, owner, count: 0 });
        }
        if let Some(place) = self.places.get_mut(index) {
            place.count = place.count.saturating_add(now).saturating_sub(known);
        }
        now
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let Self { shares: Turn { number, current, before }, limit, places } = self;
        bytes.clear();
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&current.to_le_bytes());
        bytes.extend_from_slice(&before.to_le_bytes());
        bytes.extend_from_slice(&limit.to_le_bytes());
        for place in places {
            place.encode(false, bytes);
        }
    }

    fn decode(bytes: &[u8]) -> Self {
        let mut reader = Reader::new(bytes);
        let mut head = || {
            let number = reader.u64()?;
            let current = reader.take().map(u16::from_le_bytes)?;
            let before = reader.take().map(u16::from_le_bytes)?;
            Some((Turn { number, current, before }, reader.u32()?))
        };
        let Some((shares, limit)) = head() else { return Self::default() };
        let places = places(bytes.get(HEAD..).unwrap_or_default(), false).take(MOST).collect();
        Self { shares, limit, places }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::concurrency::room::Limits;
    use crate::testing::{SECOND, Shared};

    proptest! {
        #[test]
        fn any_record_is_survived(record in proptest::collection::vec(any::<u8>(), 0..800)) {
            let told = Told::decode(&record);
            prop_assert!(told.places.len() <= record.len() / 7);
        }
    }

    fn place(seat: u8) -> Place {
        Place { fingerprint: ONLY.fingerprint, owner: Owner::from_bytes([seat, 1, 0]), count: 7 }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_has_a_bound() {
        let shares = Turn { number: 9, current: 5_000, before: 10_000 };
        let mut told = Told { shares, limit: 12, places: Vec::new() };
        for seat in 0..134 {
            assert_eq!(told.count(place(seat).owner, 0, 7), 7);
        }
        assert_eq!(told.count(place(134).owner, 0, 7), 0, "there is no place for one more");
        assert_eq!(told.count(place(5).owner, 2, 7), 7, "one that has a place has it for all");
        let mut bytes = Vec::new();
        told.encode(&mut bytes);
        assert!(bytes.len() <= MAX_RECORD, "{}", bytes.len());
        assert_eq!(Told::decode(&bytes), told);
    }

    /// A worker and what it does with its share of the record.
    fn take(usage: &mut Usage, presence: &mut Presence, store: &mut Shared, now: u64) -> Use {
        let (bytes, transitions) = (&mut Vec::new(), &mut Vec::new());
        usage.take(presence, &mut Access { store, bytes, transitions, now, since: 0 }).unwrap()
    }

    #[test]
    fn a_worker_that_finds_no_place_tells_its_share_and_forgets_it() {
        let (mut store, mut presence) = (Shared::default(), Presence::default());
        let mut usage = Usage::new("p", "r", true);
        let full = Told { shares: Turn::default(), limit: 0, places: (100..234).map(place).collect() };
        let mut bytes = Vec::new();
        full.encode(&mut bytes);
        store.compare_and_set(usage.table.record(0), &bytes, None).unwrap();
        usage.begin();
        usage.found(&room(5, 10));
        let used = |share, in_flight| Use { in_flight, limit: 10, share };
        assert_eq!(take(&mut usage, &mut presence, &mut store, SECOND), used(5_000, 134 * 7));
        assert_eq!(take(&mut usage, &mut presence, &mut store, 60 * SECOND), used(0, 134 * 7));
        usage.end();
        assert_eq!(take(&mut usage, &mut presence, &mut store, 61 * SECOND), used(0, 134 * 7));
    }

    fn room(count: u32, limit: u32) -> Room {
        let limit = Limits { now: limit, whole: limit };
        Room { slot: ONLY, limit, owner: Owner::default(), count }
    }

    #[test]
    fn of_several_limits_that_of_the_busiest_key_is_shown_whoever_told_last() {
        let (mut store, mut presence) = (Shared::default(), Presence::default());
        let (mut busy, mut calm) = (Usage::new("p", "r", true), Usage::new("p", "r", true));
        busy.found(&room(90, 100));
        calm.found(&room(1, 4));
        let mut now = SECOND;
        let mut limit = |usage: &mut Usage, turns: u64| {
            now += turns * TURN;
            take(usage, &mut presence, &mut store, now).limit
        };
        assert_eq!([limit(&mut busy, 0), limit(&mut calm, 0)], [100, 100]);
        calm.found(&room(1, 4));
        assert_eq!(limit(&mut calm, 1), 4, "nobody else came for five seconds");
        let mut only = Usage::new("p", "one", false);
        only.found(&room(90, 100));
        assert_eq!(limit(&mut only, 0), 100);
        only.found(&room(40, 80));
        assert_eq!(limit(&mut only, 0), 80, "the only limit there is has become less");
    }
}
