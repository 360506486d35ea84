//! When to look at files that nobody notifies about.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The moments to look, once a second, until told to stop.
#[derive(Debug)]
pub(crate) struct Looks {
    interval: Interval,
    stop: CancellationToken,
}

impl Looks {
    pub(crate) fn until(stop: CancellationToken) -> Self {
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, stop }
    }

    /// Waits for the next moment, the first of which is now; `false` once it is time to stop.
    pub(crate) async fn next(&mut self) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            _ = self.interval.tick() => true,
        }
    }
}
