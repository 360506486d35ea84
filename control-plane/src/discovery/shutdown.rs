//! The end of all streams, spread over some time: ten thousand proxies that looked for another replica in the same instant would take
//! that one down too.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Reconnects a second that another replica is trusted with.
const PACE: u32 = 500;

/// The end of all streams.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Says that it has begun.
    pub begun: CancellationToken,
    /// The longest it may take.
    pub grace: Duration,
}

impl Shutdown {
    /// When a stream ends, counted from when the shutdown has begun. `streams` is how many there are, `lot` is drawn for this one from all
    /// numbers with equal chances. A few streams need no time at all.
    pub(super) fn delay(&self, streams: usize, lot: u32) -> Duration {
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        let window =
            (Duration::from_secs(1) / PACE).saturating_mul(streams.saturating_sub(1)).min(self.grace);
        window.mul_f64(f64::from(lot) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_end_over_a_time_that_grows_with_their_number_up_to_a_bound() {
        let shutdown = Shutdown { begun: CancellationToken::new(), grace: Duration::from_secs(10) };
        assert_eq!(shutdown.delay(1, u32::MAX), Duration::ZERO);
        assert_eq!(shutdown.delay(501, u32::MAX), Duration::from_secs(1));
        assert_eq!(shutdown.delay(501, 0), Duration::ZERO);
        let half = shutdown.delay(1_000_000, u32::MAX / 2).as_secs_f64();
        assert!((4.9..5.1).contains(&half), "{half}");
        assert_eq!(shutdown.delay(usize::MAX, u32::MAX), Duration::from_secs(10));
    }
}
