//! The last addresses of names, over a restart: a control plane that starts while the DNS is down must not take away the endpoints that proxies have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

const FILE: &str = "addresses.json";

/// The last addresses that a name resolved to.
#[derive(Debug, Default)]
pub struct Kept {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    file: Option<PathBuf>,
}

/// The state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Something else has written to it.
    #[error("{}: not what spillway writes there", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Kept {
    /// Reads what is kept in `directory`.
    pub fn kept_in(directory: &Path) -> Result<Self, KeptError> {
        let path = directory.join(FILE);
        let addresses = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| KeptError::Malformed { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(KeptError::Io { path, source }),
        };
        Ok(Self { addresses, file: Some(path) })
    }

    /// What a name led to.
    pub(super) fn get(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        self.addresses.get(host).map(|addresses| addresses.as_slice().into())
    }

    /// Keeps what a name leads to: all of the file is written, or none.
    pub(super) fn put(&mut self, host: &str, addresses: &[IpAddr]) -> Result<(), KeptError> {
        if self.addresses.get(host).is_some_and(|known| known == addresses) {
            return Ok(());
        }
        self.addresses.insert(host.to_owned(), addresses.to_vec());
        let Some(path) = &self.file else { return Ok(()) };
        let malformed = |source| KeptError::Malformed { path: path.clone(), source };
        let text = serde_json::to_vec_pretty(&self.addresses).map_err(malformed)?;
        let draft = path.with_extension("json.new");
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
        written.map_err(|source| KeptError::Io { path: path.clone(), source })
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

        fs::write(directory.path().join(FILE), "not JSON").unwrap();
        let error = Kept::kept_in(directory.path()).unwrap_err().to_string();
        assert!(error.contains("addresses.json: not what spillway writes there"), "{error}");
    }
}
