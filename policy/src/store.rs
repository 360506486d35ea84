//! Where state lives that all workers of one proxy share.
//!
//! The engine keeps no shared state of its own: it reads a record, decides, and writes the record back on the condition that nobody
//! else has written it in between. That is all it asks of a store, so Envoy's shared data is one and [`Memory`] is another.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// Which write a value comes from. Only equality means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(NonZeroU32);

impl Version {
    /// From the number the host gave.
    pub const fn new(number: NonZeroU32) -> Self {
        Self(number)
    }

    /// The number to hand back to the host.
    pub const fn get(self) -> NonZeroU32 {
        self.0
    }
}

/// The store could not be asked, or answered something that makes no sense. What the engine does then is the rule's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shared store did not answer")]
pub struct StoreError;

/// Why a conditional write did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CasError {
    /// Somebody else wrote since the value was read: read again and decide again.
    #[error("the value has changed since it was read")]
    Conflict,
    /// The store could not be asked.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Values by key, changed by compare-and-swap.
///
/// Keys are short (under 600 bytes) and their number is bounded by the configuration, whatever the traffic; values are under 1 KiB.
/// Nothing is ever deleted.
pub trait Store {
    /// Replaces the content of `value` by the value of `key` and says which version that is; `None` where the key has never been
    /// written, with `value` empty.
    fn read(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Version>, StoreError>;

    /// Writes, if the version of `key` is still `expected`; `None`: if the key does not exist.
    fn compare_and_set(
        &mut self,
        key: &[u8],
        value: &[u8],
        expected: Option<Version>,
    ) -> Result<(), CasError>;

    /// Bits that a client can't guess. Asked once in a store's life and then kept in it: they seed the hash that spreads keys over the
    /// fixed-size tables, so that nobody outside can choose keys that all fall into one place.
    fn entropy(&mut self) -> u128;
}

/// A store in this process's memory, for tests and for `explain`.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    values: BTreeMap<Vec<u8>, (Vec<u8>, Version)>,
    writes: u32,
    entropy: u128,
}

impl Memory {
    /// An empty store whose hash seed is `entropy`.
    pub fn with_entropy(entropy: u128) -> Self {
        Self { entropy, ..Self::default() }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.values.iter().map(|(key, (value, _))| key.len() + value.len()).sum()
    }
}

impl Store for Memory {
    fn read(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Version>, StoreError> {
        value.clear();
        Ok(self.values.get(key).map(|(stored, version)| {
            value.extend_from_slice(stored);
            *version
        }))
    }

    fn compare_and_set(
        &mut self,
        key: &[u8],
        value: &[u8],
        expected: Option<Version>,
    ) -> Result<(), CasError> {
        self.writes = self.writes.wrapping_add(1).max(1);
        let version = Version(NonZeroU32::new(self.writes).unwrap_or(NonZeroU32::MIN));
        match (self.values.get_mut(key), expected) {
            (Some((stored, current)), Some(expected)) if *current == expected => {
                stored.clear();
                stored.extend_from_slice(value);
                *current = version;
                Ok(())
            }
            (None, None) => {
                self.values.insert(key.to_vec(), (value.to_vec(), version));
                Ok(())
            }
            _ => Err(CasError::Conflict),
        }
    }

    fn entropy(&mut self) -> u128 {
        self.entropy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_needs_the_version_that_was_read() {
        let mut store = Memory::default();
        let mut value = vec![9];
        assert_eq!(store.read(b"k", &mut value), Ok(None));
        assert!(value.is_empty());

        assert_eq!(store.compare_and_set(b"k", b"a", None), Ok(()));
        assert_eq!(store.compare_and_set(b"k", b"b", None), Err(CasError::Conflict), "it exists by now");
        let first = store.read(b"k", &mut value).unwrap();
        assert_eq!(value, b"a");

        assert_eq!(store.compare_and_set(b"k", b"b", first), Ok(()));
        assert_eq!(
            store.compare_and_set(b"k", b"c", first),
            Err(CasError::Conflict),
            "the version is used up"
        );
        assert_eq!(
            store.compare_and_set(b"other", b"c", first),
            Err(CasError::Conflict),
            "nothing to replace"
        );
        store.read(b"k", &mut value).unwrap();
        assert_eq!(value, b"b");
    }

    #[test]
    fn a_version_is_the_number_that_the_host_gave() {
        let number = NonZeroU32::new(7).unwrap();
        assert_eq!(Version::new(number).get(), number);
    }
}
