//! The host's shared data as the engine's store.
//!
//! The host numbers every write, and compares that number: but 0 overwrites whatever is there, and on a key that does not exist it compares
//! nothing at all. So a key is created with a number that no write has in practice: if another worker has created it meanwhile, that is a conflict.

use std::cell::Cell;
use std::num::NonZeroU32;

use spillway_policy::store::{CasError, Store, StoreError, Version};

use crate::host::{Host, Refused};

/// Numbers grow from 1 with every write to any key, so the last is that of a key after four billion writes: then, at worst, one creation overwrites one
/// record that another worker created in the same moment.
const NO_WRITE: u32 = u32::MAX;

/// The store that all workers of a proxy share.
pub(crate) struct SharedData<'h, H> {
    pub(crate) host: &'h H,
    /// Counts the writes that another worker was faster with, which have to be decided and written again.
    pub(crate) conflicts: &'h Cell<u32>,
}

impl<H: Host> Store for SharedData<'_, H> {
    fn read(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Version>, StoreError> {
        match self.host.shared_data(key, value) {
            Ok(cas) => NonZeroU32::new(cas).map(Version::new).map(Some).ok_or(StoreError),
            Err(Refused::NOT_FOUND) => {
                value.clear();
                Ok(None)
            }
            Err(_) => Err(StoreError),
        }
    }

    fn compare_and_set(
        &mut self,
        key: &[u8],
        value: &[u8],
        expected: Option<Version>,
    ) -> Result<(), CasError> {
        let cas = expected.map_or(NO_WRITE, |version| version.get().get());
        self.host.set_shared_data(key, value, cas).map_err(|refused| match refused {
            Refused::CAS_MISMATCH => {
                self.conflicts.set(self.conflicts.get().saturating_add(1));
                CasError::Conflict
            }
            _ => StoreError.into(),
        })
    }

    fn entropy(&mut self) -> u128 {
        self.host.entropy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;

    #[test]
    fn of_two_workers_that_create_a_key_one_is_told() {
        let host = Fake::default();
        let conflicts = Cell::new(0);
        let store = || SharedData { host: &host, conflicts: &conflicts };
        let (mut one, mut other) = (store(), store());
        let mut value = Vec::new();
        assert_eq!(one.read(b"k", &mut value), Ok(None));
        assert_eq!(one.compare_and_set(b"k", b"1", None), Ok(()));
        assert_eq!(other.compare_and_set(b"k", b"2", None), Err(CasError::Conflict));

        let version = other.read(b"k", &mut value).unwrap();
        assert_eq!(value, b"1");
        assert_eq!(other.compare_and_set(b"k", b"3", version), Ok(()));
        assert_eq!(one.compare_and_set(b"k", b"4", version), Err(CasError::Conflict));
        assert_eq!(conflicts.get(), 2);
    }

    #[test]
    fn a_host_that_fails_is_a_store_that_fails() {
        let host = Fake::default();
        host.break_shared_data();
        let conflicts = Cell::new(0);
        let mut store = SharedData { host: &host, conflicts: &conflicts };
        assert_eq!(store.read(b"k", &mut Vec::new()), Err(StoreError));
        assert_eq!(store.compare_and_set(b"k", b"1", None), Err(CasError::Failed(StoreError)));
        assert_eq!(conflicts.get(), 0);
    }
}
