//! The limits that an adaptive rule has found, one for each key.

use super::room::Limits;
use crate::adaptive::{Bounds, Estimate, Sample};
use crate::record::Reader;
use crate::remembered::Remembered;
use crate::store::{CasError, Store, StoreError};
use crate::table::{ATTEMPTS, Access, Slot, Table};

/// Records in the table of a rule with key, [`WAYS`] keys in each: half a megabyte for 8,192 keys.
const RECORDS: u16 = 1_024;
const WAYS: usize = 8;

/// How old what a worker knows of a limit may be, and what it has measured.
const PACE: u64 = 5_000_000;

/// The limits, and what this worker knows of them.
#[derive(Debug)]
pub(super) struct Found {
    bounds: Bounds,
    table: Table,
    known: Remembered<Known>,
}

/// What this worker knows of one key's limit.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    limit: Limits,
    asked: u64,
    /// Answers that the store has not been told.
    pending: Sample,
}

impl Known {
    const fn is_due(&self, now: u64) -> bool {
        self.limit.now == 0 || now.abs_diff(self.asked) >= PACE
    }
}

impl Found {
    pub(super) fn new(bounds: Bounds, policy: &str, rule: &str, keyed: bool) -> Self {
        let table = Table::new("gradient", policy, rule, keyed.then_some(RECORDS));
        Self { bounds, table, known: Remembered::new(keyed) }
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// A limit that was in force, within the bounds as they are now.
    pub(super) fn within(&self, limit: u32) -> u32 {
        limit.clamp(self.bounds.min, self.bounds.max.max(self.bounds.min))
    }

    /// The limit of a key as of some milliseconds ago.
    pub(super) fn limit<S>(&mut self, slot: Slot, access: &mut Access<'_, S>) -> Result<Limits, StoreError>
    where
        S: Store + ?Sized,
    {
        let known = self.recall(slot, access)?;
        if known.is_due(access.now) { self.refresh(slot, access) } else { Ok(known.limit) }
    }

    /// The limit, if this worker knows it.
    pub(super) fn known(&self, slot: Slot) -> Option<u32> {
        self.known.get(slot).map(|known| known.limit.now).filter(|limit| *limit > 0)
    }

    /// Takes note of answers.
    pub(super) fn measure<S>(
        &mut self,
        slot: Slot,
        sample: Sample,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let mut known = self.recall(slot, access)?;
        known.pending.add(sample);
        self.known.put(slot, known);
        if known.is_due(access.now) { self.refresh(slot, access).map(|_| ()) } else { Ok(()) }
    }

    /// Tells the store what was measured: what is due, or all.
    pub(super) fn settle<S>(&mut self, all: bool, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        for index in 0..self.known.len() {
            if let Some((slot, known)) = self.known.at(index)
                && known.pending.count > 0
                && (all || known.is_due(access.now))
            {
                self.refresh(slot, access)?;
            }
        }
        Ok(())
    }

    /// What this worker knows of a key. If another is in its place, the store is told what was measured for that.
    fn recall<S>(&mut self, slot: Slot, access: &mut Access<'_, S>) -> Result<Known, StoreError>
    where
        S: Store + ?Sized,
    {
        if let Some(known) = self.known.get(slot) {
            return Ok(*known);
        }
        let now = access.now;
        let matters = |known: &Known| known.pending.count > 0 || !known.is_due(now);
        if let Some(other) = self.known.in_the_way(slot, matters) {
            self.refresh(other, access)?;
        }
        self.known.put(slot, Known::default());
        Ok(Known::default())
    }

    /// Tells the store what was measured and reads the limit.
    fn refresh<S>(&mut self, slot: Slot, access: &mut Access<'_, S>) -> Result<Limits, StoreError>
    where
        S: Store + ?Sized,
    {
        let pending = self.known.get(slot).map(|known| known.pending).unwrap_or_default();
        // The rule's other table has more records.
        let place = if self.table.is_keyed() { Slot { record: slot.record % RECORDS, ..slot } } else { slot };
        for _ in 0..ATTEMPTS {
            let version = self.table.read(place, access)?;
            let mut keys = decode(access.bytes);
            let found = keys.iter().position(|(fingerprint, _)| *fingerprint == slot.fingerprint);
            // The key that was measured longest ago is forgotten for a new one.
            let oldest =
                || (0..WAYS).min_by_key(|index| keys.get(*index).map(|(_, estimate)| estimate.age_key()));
            let index = found.or_else(oldest).unwrap_or(0);
            let Some(key) = keys.get_mut(index) else { return Err(StoreError) };
            if found.is_none() {
                *key = (slot.fingerprint, Estimate::new(self.bounds, access.now));
            }
            if pending.count > 0 {
                key.1.observe(self.bounds, pending, access.now);
            }
            let limit = Limits { now: key.1.limit(self.bounds), whole: key.1.whole(self.bounds) };
            if pending.count > 0 || found.is_none() {
                access.bytes.clear();
                for (fingerprint, estimate) in keys.iter().filter(|(fingerprint, _)| *fingerprint != 0) {
                    access.bytes.extend_from_slice(&fingerprint.to_le_bytes());
                    estimate.encode(access.bytes);
                }
                match self.table.write(place, version, access) {
                    Ok(()) => {}
                    Err(CasError::Conflict) => continue,
                    Err(CasError::Failed(error)) => return Err(error),
                }
            }
            self.known.put(slot, Known { limit, asked: access.now, pending: Sample::default() });
            return Ok(limit);
        }
        Err(StoreError)
    }
}

fn decode(bytes: &[u8]) -> [(u64, Estimate); WAYS] {
    let mut keys = [(0, Estimate::new(Bounds { min: 1, max: 1 }, 0)); WAYS];
    let mut reader = Reader::new(bytes);
    for key in &mut keys {
        let (Some(fingerprint), Some(estimate)) = (reader.u64(), Estimate::decode(&mut reader)) else {
            break;
        };
        *key = (fingerprint, estimate);
    }
    keys
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_record_is_survived(record in proptest::collection::vec(any::<u8>(), 0..800)) {
            let bounds = Bounds { min: 1, max: 9 };
            prop_assert!(decode(&record).iter().all(|(_, estimate)| estimate.limit(bounds) >= 1));
        }
    }
}
