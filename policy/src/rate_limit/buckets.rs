//! The record of a rate limit: one bucket, or one set of the table in which the buckets of a keyed limit live.
//!
//! A set has eight places. A key that has none takes an unused place, and where there is none it takes over the one with the most tokens,
//! *with* its tokens. That place holds at least as much as every other in the set, so whoever is put out of it finds no more when it
//! comes back than its own bucket would have held by then: no order of keys, however many, gets any key more than its rate and
//! burst. What it costs is that a key which the table does not know may start with less than a full bucket, when more keys are active than
//! the table has places for.

use crate::quota::{Level, Quota};
use crate::record::Reader;
use crate::table::CLOCK_SKEW;

/// Places in a set.
pub(crate) const WAYS: usize = 8;

/// A worker whose revision is lower than the record's is taken for a straggler for so long, and after that for one that was set back.
const STRAGGLING: u64 = 10_000_000_000;

/// A quota and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) quota: Quota,
    /// The configuration's revision.
    pub(crate) revision: u64,
    /// When the first worker put it in force.
    pub(crate) since: u64,
}

impl Terms {
    /// Whether these replace those of a record. The higher revision wins. One that is lower and was put in force long after the other is
    /// a control plane that began to count anew; without that, its changes would never take effect.
    fn supersede(&self, stored: &Self) -> bool {
        match self.revision.cmp(&stored.revision) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => self.quota != stored.quota && self.since >= stored.since,
            std::cmp::Ordering::Less => self.since > stored.since.saturating_add(STRAGGLING),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    /// Whose it is; 0: nobody's.
    fingerprint: u64,
    level: Level,
}

/// The places of one record, as of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buckets {
    terms: Terms,
    at: u64,
    places: [Place; WAYS],
    /// 1 or [`WAYS`].
    ways: usize,
}

impl Buckets {
    /// Full ones.
    pub(crate) fn new(terms: Terms, now: u64, ways: usize) -> Self {
        let place = Place { fingerprint: 0, level: terms.quota.full() };
        Self { terms, at: now, places: [place; WAYS], ways: ways.min(WAYS) }
    }

    /// From a record, brought up to `now` and to `terms` or to newer ones that another worker already has.
    pub(crate) fn read(bytes: &[u8], terms: Terms, now: u64, ways: usize) -> Self {
        match Self::decode(bytes, ways) {
            Some(mut buckets) => {
                buckets.advance(terms, now);
                buckets
            }
            None => Self::new(terms, now, ways),
        }
    }

    fn decode(bytes: &[u8], ways: usize) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let at = reader.u64()?;
        let revision = reader.u64()?;
        let since = reader.u64()?;
        let quota = Quota::from_raw(reader.u64()?, reader.u32()?)?;
        let mut places = [Place::default(); WAYS];
        for place in places.iter_mut().take(ways) {
            *place = Place { fingerprint: reader.u64()?, level: Level::from_bytes(reader.take()?) };
        }
        let terms = Terms { quota, revision, since };
        reader.is_at_end().then_some(Self { terms, at, places, ways: ways.min(WAYS) })
    }

    /// Writes the record.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let Self { terms: Terms { quota, revision, since }, at, places, ways } = self;
        let (units_per_nano, burst) = quota.raw();
        bytes.clear();
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&revision.to_le_bytes());
        bytes.extend_from_slice(&since.to_le_bytes());
        bytes.extend_from_slice(&units_per_nano.to_le_bytes());
        bytes.extend_from_slice(&burst.to_le_bytes());
        for Place { fingerprint, level } in places.iter().take(*ways) {
            bytes.extend_from_slice(&fingerprint.to_le_bytes());
            bytes.extend_from_slice(&level.to_bytes());
        }
    }

    /// Lets time pass, at the stored quota until the new terms came into force and at theirs since.
    fn advance(&mut self, terms: Terms, now: u64) {
        // Written by a clock that has been set back since.
        if self.at > now.saturating_add(CLOCK_SKEW) {
            self.at = now;
        }
        if terms.supersede(&self.terms) {
            self.refill_until(terms.since.min(now));
            for place in self.places.iter_mut().filter(|place| place.fingerprint == 0) {
                place.level = terms.quota.full();
            }
            self.terms = terms;
        }
        self.refill_until(now);
    }

    fn refill_until(&mut self, then: u64) {
        let elapsed = then.saturating_sub(self.at);
        let quota = self.terms.quota;
        for place in self.places.iter_mut().take(self.ways) {
            place.level = quota.refill(place.level, elapsed);
        }
        self.at = self.at.max(then);
    }

    /// The quota in force.
    pub(crate) const fn quota(&self) -> Quota {
        self.terms.quota
    }

    /// The bucket of a key, one that it takes over if it has none.
    pub(crate) fn bucket(&mut self, fingerprint: u64) -> &mut Level {
        let found = self.find(fingerprint).unwrap_or_else(|| self.victim());
        let place = self.place(found);
        place.fingerprint = fingerprint;
        &mut place.level
    }

    /// The bucket of a key, if it has one.
    pub(crate) fn known(&mut self, fingerprint: u64) -> Option<&mut Level> {
        let found = self.find(fingerprint)?;
        Some(&mut self.place(found).level)
    }

    fn find(&self, fingerprint: u64) -> Option<usize> {
        self.places.iter().take(self.ways).position(|place| place.fingerprint == fingerprint)
    }

    /// An unused place, or the one with the most tokens.
    fn victim(&self) -> usize {
        let places = self.places.iter().take(self.ways).enumerate();
        places.max_by_key(|(_, place)| (place.fingerprint == 0, place.level)).map_or(0, |(index, _)| index)
    }

    fn place(&mut self, index: usize) -> &mut Place {
        let [first, rest @ ..] = &mut self.places;
        match index.checked_sub(1) {
            Some(index) => rest.get_mut(index).unwrap_or(first),
            None => first,
        }
    }
}

#[cfg(test)]
mod tests;
