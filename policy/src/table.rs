//! Where the state of a rule's keys is kept: a fixed number of records, so that no traffic can make it grow.
//!
//! A key is hashed, with a seed that clients can't know, to a record and to a fingerprint within it. 64 bits of fingerprint beside the
//! record's number make two keys of one record the same once in 2^64 pairs.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::decision::Transition;
use crate::store::{CasError, Store, StoreError, Version};

const SEED_KEY: &[u8] = b"spillway/1/seed";

/// How often a write is tried again because others wrote first. Each failed attempt means that another worker made progress, so this is far beyond
/// what any number of workers brings about; a store that answers "conflict" forever is a store that does not answer.
pub(crate) const ATTEMPTS: u32 = 64;

/// Two workers' readings of one monotonic clock differ by less than this. A record from further ahead was written by a clock that has been
/// set back since.
pub(crate) const CLOCK_SKEW: u64 = 1_000_000_000;

/// What a rule decides with.
pub(crate) struct Access<'a, S: ?Sized> {
    pub(crate) store: &'a mut S,
    /// A buffer for records.
    pub(crate) bytes: &'a mut Vec<u8>,
    /// Where breakers report their changes.
    pub(crate) transitions: &'a mut Vec<Transition>,
    pub(crate) now: u64,
    /// When this worker put the configuration in force.
    pub(crate) since: u64,
}

/// The records of one rule.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The store key of the record used last; for a rule with key, its last two bytes are the record's number.
    key: Vec<u8>,
    /// How many records; `None` for a rule without key, which has one.
    records: Option<u16>,
}

/// A key's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slot {
    pub(crate) record: u16,
    /// Never 0.
    pub(crate) fingerprint: u64,
}

/// The place of a rule's only state.
pub(crate) const ONLY: Slot = Slot { record: 0, fingerprint: 1 };

impl Table {
    /// State belongs to the names of policy and rule, whatever else of them changes.
    pub(crate) fn new(kind: &str, policy: &str, rule: &str, records: Option<u16>) -> Self {
        let mut key = format!("spillway/1/{kind}/{policy}/{rule}").into_bytes();
        if records.is_some() {
            // No name contains a slash, so this can't be the key of a rule without key.
            key.extend_from_slice(b"/\0\0");
        }
        Self { key, records }
    }

    /// The single record of one key that is kept outside its rule's table.
    pub(crate) fn own(kind: &str, policy: &str, rule: &str, own: &str) -> Self {
        // Two slashes after the rule's name: neither a rule without key nor a table's record is called so, as `=` is no record's number's place.
        Self { key: format!("spillway/1/{kind}/{policy}/{rule}/={own}").into_bytes(), records: None }
    }

    /// Whether the rule has keys.
    pub(crate) const fn is_keyed(&self) -> bool {
        self.records.is_some()
    }

    /// Where a key's state is.
    pub(crate) fn slot(&self, seed: Seed, key: &[u8]) -> Slot {
        let Some(records) = self.records else { return ONLY };
        let mut hasher = SipHasher13::new_with_key(&seed.0);
        hasher.write(key);
        let hash = hasher.finish128();
        let record = u16::try_from(hash.h2 % u64::from(records.max(1))).unwrap_or(0);
        Slot { record, fingerprint: hash.h1.max(1) }
    }

    /// What tells the table from all others: how the store keys of its records begin.
    pub(crate) fn name(&self) -> &[u8] {
        // The last two bytes are those of the record used last.
        let end = self.key.len() - if self.records.is_some() { 2 } else { 0 };
        self.key.get(..end).unwrap_or_default()
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> u32 {
        self.records.map_or(1, u32::from)
    }

    /// The store key of a record.
    pub(crate) fn record(&mut self, number: u32) -> &[u8] {
        let record = u16::try_from(number).unwrap_or(u16::MAX);
        self.store_key(Slot { record, fingerprint: 1 })
    }

    fn store_key(&mut self, slot: Slot) -> &[u8] {
        if self.records.is_some()
            && let Some(number) = self.key.last_chunk_mut()
        {
            *number = slot.record.to_be_bytes();
        }
        &self.key
    }

    /// Reads the record that a slot is in.
    pub(crate) fn read<S>(
        &mut self,
        slot: Slot,
        access: &mut Access<'_, S>,
    ) -> Result<Option<Version>, StoreError>
    where
        S: Store + ?Sized,
    {
        access.store.read(self.store_key(slot), access.bytes)
    }

    /// Writes it from the buffer.
    pub(crate) fn write<S>(
        &mut self,
        slot: Slot,
        expected: Option<Version>,
        access: &mut Access<'_, S>,
    ) -> Result<(), CasError>
    where
        S: Store + ?Sized,
    {
        access.store.compare_and_set(self.store_key(slot), access.bytes, expected)
    }
}

/// What makes the places of keys unpredictable; the same for all workers that share a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed([u8; 16]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// The store's seed, made now if it has none.
    pub(crate) fn of<S: Store + ?Sized>(store: &mut S, bytes: &mut Vec<u8>) -> Result<Self, StoreError> {
        for _ in 0..ATTEMPTS {
            let version = store.read(SEED_KEY, bytes)?;
            if let Some(seed) = bytes.as_slice().first_chunk() {
                return Ok(Self(*seed));
            }
            let seed = store.entropy().to_le_bytes();
            match store.compare_and_set(SEED_KEY, &seed, version) {
                Ok(()) => return Ok(Self(seed)),
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
    use crate::store::Memory;

    #[test]
    fn all_workers_of_a_store_use_the_seed_that_was_first() {
        let mut store = Memory::with_entropy(7);
        let first = Seed::of(&mut store, &mut Vec::new()).unwrap();
        assert_eq!(first, Seed(7_u128.to_le_bytes()));
        assert_eq!(Seed::of(&mut store, &mut vec![1]).unwrap(), first);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn another_seed_puts_keys_elsewhere() {
        let table = Table::new("limit", "p", "r", Some(8192));
        let slots =
            |seed: u8| (0..100_u8).map(|key| table.slot(Seed([seed; 16]), &[key])).collect::<Vec<_>>();
        assert_ne!(slots(1), slots(2));
        assert_eq!(slots(1), slots(1));
        let records: std::collections::BTreeSet<_> = slots(1).iter().map(|slot| slot.record).collect();
        assert!(records.len() > 90, "keys spread: {}", records.len());
    }

    #[test]
    fn records_of_different_rules_never_share_a_store_key() {
        let mut keyless = Table::new("limit", "p", "a--", None);
        let mut keyed = Table::new("limit", "p", "a", Some(u16::MAX));
        let dashes = Slot { record: u16::from_be_bytes(*b"--"), fingerprint: 1 };
        assert_ne!(keyless.store_key(ONLY), keyed.store_key(dashes));
        let first = keyed.store_key(dashes).to_vec();
        assert_ne!(first, keyed.store_key(ONLY));
    }

    #[test]
    fn tables_are_told_from_each_other_by_what_their_records_begin_with() {
        let name = |table: &Table| String::from_utf8(table.name().to_vec()).unwrap();
        let mut keyed = Table::new("limit", "p", "r", Some(8));
        assert_eq!(name(&keyed), "spillway/1/limit/p/r/");
        keyed.record(7);
        assert_eq!(name(&keyed), "spillway/1/limit/p/r/", "whichever was used last");
        assert_eq!(name(&Table::new("limit", "p", "r", None)), "spillway/1/limit/p/r");
    }
}
