//! What is in the files that Certificate documents name: read, checked, and remembered for as long as it is in force.
//!
//! Documents and keys part here. Documents are kept, compared and shown; what a [`Keychain`] holds goes to proxies as secrets and
//! nowhere else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::document::kind;

mod fault;
mod file;
mod material;

pub use self::fault::{Fault, Faults, Field};
use self::file::Stamp;
pub use self::material::{Authorities, Material, Pair};

/// The files of one Certificate document, found from where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Files {
    /// The certificate's and its key's.
    pub pair: Option<(PathBuf, PathBuf)>,
    /// That of those whose word counts.
    pub ca: Option<PathBuf>,
}

impl Files {
    /// What a document in a file of `directory` names.
    pub fn of(certificate: &kind::Certificate, directory: &Path) -> Self {
        let kind::Certificate { cert_file, key_file, ca_file } = certificate;
        let pair = cert_file.as_ref().zip(key_file.as_ref());
        Self {
            pair: pair.map(|(certificate, key)| (directory.join(certificate), directory.join(key))),
            ca: ca_file.as_ref().map(|path| directory.join(path)),
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let pair = self.pair.iter().flat_map(|(certificate, key)| [certificate, key]);
        pair.chain(&self.ca).map(PathBuf::as_path)
    }
}

/// What files are read for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reading {
    /// They are not read: what documents mean does not depend on them.
    #[default]
    Not,
    /// Everything has to be right.
    Strict,
    /// A certificate may have expired: that of a whole site that starts again must not depend on one.
    Starting,
}

/// The content of files that are in force.
#[derive(Debug, Default)]
pub struct Keychain {
    reading: Reading,
    held: Mutex<BTreeMap<Files, Held>>,
}

#[derive(Debug)]
struct Held {
    material: Arc<Material>,
    /// What the files looked like when they were read.
    stamp: Option<Stamp>,
    /// What they were found to be since, and how often.
    trouble: Option<(Faults, u32)>,
}

/// What became of files that are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// They have other content, which is in force now.
    Replaced,
    /// Their content can't be used; the last that could stays in force.
    Refused(Faults),
    /// They can be used again, and hold what is in force.
    Mended,
}

impl Keychain {
    /// An empty one.
    pub fn new(reading: Reading) -> Self {
        Self { reading, ..Self::default() }
    }

    /// From now on files are read for something else.
    pub fn set_reading(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// What files hold: what is in force of them or, if they are new, what is in them. `None` if nothing is to be read.
    pub fn look(&self, files: &Files) -> Result<Option<Arc<Material>>, Faults> {
        if self.reading == Reading::Not {
            return Ok(None);
        }
        let mut held = self.held();
        let entry = match held.entry(files.clone()) {
            Entry::Occupied(entry) => return Ok(Some(Arc::clone(&entry.get().material))),
            Entry::Vacant(entry) => entry,
        };
        // Before reading: what changes meanwhile is noticed later.
        let stamp = Stamp::of(files.paths());
        let material = Material::read(files)?;
        if self.reading == Reading::Strict {
            material.check_time(now())?;
        }
        let material = Arc::new(material);
        entry.insert(Held { material: Arc::clone(&material), stamp, trouble: None });
        Ok(Some(material))
    }

    /// What is in force of files.
    pub fn get(&self, files: &Files) -> Option<Arc<Material>> {
        self.held().get(files).map(|held| Arc::clone(&held.material))
    }

    /// Forgets everything but what is in use.
    pub fn retain(&self, is_used: impl Fn(&Files) -> bool) {
        self.held().retain(|files, _| is_used(files));
    }

    /// Looks at all files again. What can't be used changes nothing, and is told once it has been so in two looks: files are not all
    /// replaced in the same instant.
    pub fn rotate(&self) -> Vec<(Files, Change)> {
        let mut changes = Vec::new();
        for (files, held) in self.held().iter_mut() {
            if let Some(change) = held.look(files) {
                changes.push((files.clone(), change));
            }
        }
        changes
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Files, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn look(&mut self, files: &Files) -> Option<Change> {
        let stamp = Stamp::of(files.paths());
        if self.trouble.is_none() && stamp.is_some() && stamp == self.stamp {
            return None;
        }
        let read = Material::read(files).and_then(|material| {
            // What has expired in force stays; it takes the place of nothing.
            if material != *self.material {
                material.check_time(now())?;
            }
            Ok(material)
        });
        match read {
            Ok(material) => {
                self.stamp = stamp;
                let told = self.trouble.take().is_some_and(|(_, times)| times > 1);
                if material == *self.material {
                    return told.then_some(Change::Mended);
                }
                self.material = Arc::new(material);
                Some(Change::Replaced)
            }
            Err(faults) => {
                let times = match self.trouble.take() {
                    Some((last, times)) if last == faults => times.saturating_add(1),
                    _ => 1,
                };
                self.trouble = Some((faults.clone(), times));
                (times == 2).then_some(Change::Refused(faults))
            }
        }
    }
}

/// Seconds since 1970 as a date, as RFC 3339 writes it.
pub(crate) fn date(seconds: i64) -> String {
    fault::Date(seconds).to_string()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod authority;
#[cfg(test)]
mod tests;
