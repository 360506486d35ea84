//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// What is open beside the streams: the store, its watch, the admin port and its clients, the runtime.
const BESIDE_STREAMS: u64 = 256;

/// Raises the limit on open files to what may be had, and says so where that is too little for `streams` connections.
///
/// The usual soft limit of 1,024 is there for programs that use `select`, and would be the end at a thousand proxies.
pub(super) fn raise(streams: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, "the limit on open files can't be raised");
    }
    if let Some(limit) = too_few(getrlimit(Resource::Nofile).current, streams) {
        warn!(
            limit,
            streams,
            "open files are limited to fewer than --xds-max-streams needs: connections will wait at the limit"
        );
    }
}

/// The limit, if it doesn't suffice. No limit at all always does.
fn too_few(limit: Option<u64>, streams: usize) -> Option<u64> {
    let needed = u64::try_from(streams).unwrap_or(u64::MAX).saturating_add(BESIDE_STREAMS);
    limit.filter(|limit| *limit < needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_to_leave_room_beside_the_streams() {
        assert_eq!(too_few(Some(1_024), 1_000), Some(1_024));
        assert_eq!(too_few(Some(1_256), 1_000), None);
        assert_eq!(too_few(Some(1_255), 1_000), Some(1_255));
        assert_eq!(too_few(Some(u64::MAX - 1), usize::MAX), Some(u64::MAX - 1));
        assert_eq!(too_few(None, usize::MAX), None);
    }
}
