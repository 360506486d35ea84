//! Reading of small files that may be replaced at any time.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::fault::Fault;

/// Far more than a chain, and than all authorities that an operating system trusts.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// How far a time stamp has to lie back for a later change to be certain to give another one.
const STAMP_STEP: i64 = 2;

/// Reads a file, but no pipe that would be waited on for ever.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: io::Error| Fault::Unreadable(error.to_string());
    let file =
        OpenOptions::new().read(true).custom_flags(crate::store::NONBLOCK).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(Fault::Unreadable("not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES { Err(Fault::TooLarge) } else { Ok(bytes) }
}

/// What tells one state of some files from another without reading them. Links are followed, so that one that leads elsewhere is a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<[i64; 7]>);

impl Stamp {
    /// `None` if a change that is still to come might not show.
    pub(super) fn of<'p>(paths: impl Iterator<Item = &'p Path>) -> Option<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let stamps = paths.map(|path| {
            let found = fs::metadata(path).ok()?;
            let is_old = i64::try_from(now).ok()?.saturating_sub(found.ctime()) > STAMP_STEP;
            let signed = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
            let [device, inode, length] = [found.dev(), found.ino(), found.len()].map(signed);
            let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
            let [a, b, c, d] = times;
            is_old.then_some([device, inode, length, a, b, c, d])
        });
        stamps.collect::<Option<Vec<_>>>().map(Self)
    }
}
