//! The last addresses of names, over a restart: a control plane that starts while the DNS is down must not take away the endpoints that proxies have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::state::{StateError, StateFile};

const FILE: &str = "addresses.json";

/// The last addresses that a name resolved to.
#[derive(Debug, Default)]
pub struct Kept {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    file: Option<StateFile>,
}

impl Kept {
    /// Reads what is kept in `directory`.
    pub fn kept_in(directory: &Path) -> Result<Self, StateError> {
        let (file, addresses) = StateFile::open(directory, FILE)?;
        Ok(Self { addresses, file: Some(file) })
    }

    /// What a name led to.
    pub(super) fn get(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        self.addresses.get(host).map(|addresses| addresses.as_slice().into())
    }

    /// Keeps what a name leads to.
    pub(super) fn put(&mut self, host: &str, addresses: &[IpAddr]) -> Result<(), StateError> {
        if self.addresses.get(host).is_some_and(|known| known == addresses) {
            return Ok(());
        }
        self.addresses.insert(host.to_owned(), addresses.to_vec());
        self.file.as_ref().map_or(Ok(()), |file| file.write(&self.addresses))
    }

    /// Forgets names that nobody asks for any more; the file follows with the next name that changes.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.addresses.retain(|host, _| wanted(host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let addresses: [IpAddr; 2] = [[10, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1].into()];
        let mut kept = Kept::kept_in(directory.path()).unwrap();
        assert_eq!(kept.get("a"), None);
        kept.put("a", &addresses).unwrap();
        kept.put("b", &addresses).unwrap();
        kept.retain(|host| host == "a");
        kept.put("c", &addresses).unwrap();
        let kept = Kept::kept_in(directory.path()).unwrap();
        assert_eq!(kept.get("a").as_deref(), Some(&addresses[..]));
        assert_eq!(kept.get("b"), None);

        std::fs::write(directory.path().join(FILE), "not JSON").unwrap();
        let error = Kept::kept_in(directory.path()).unwrap_err().to_string();
        assert!(error.contains("addresses.json: not what spillway writes there"), "{error}");
    }
}
