//! The record of what is in flight: for each key and VM, how many.

use crate::presence::Owner;
use crate::record::Reader;

/// One VM's requests of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) fingerprint: u64,
    pub(super) owner: Owner,
    pub(super) count: u32,
}

impl Place {
    /// In a rule without key all fingerprints are the same and not written. Nothing is written of a place that counts nothing.
    pub(super) fn encode(self, keyed: bool, bytes: &mut Vec<u8>) {
        let Self { fingerprint, owner, count } = self;
        if count == 0 {
            return;
        }
        if keyed {
            bytes.extend_from_slice(&fingerprint.to_le_bytes());
        }
        bytes.extend_from_slice(&owner.to_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
    }
}

/// What a record says.
pub(super) fn places(record: &[u8], keyed: bool) -> impl Iterator<Item = Place> + '_ {
    let mut reader = Reader::new(record);
    std::iter::from_fn(move || {
        let fingerprint = if keyed { reader.u64()? } else { crate::table::ONLY.fingerprint };
        let owner: [u8; Owner::LENGTH] = reader.take()?;
        Some(Place { fingerprint, owner: Owner::from_bytes(owner), count: reader.u32()? })
    })
}
