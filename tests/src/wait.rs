//! Waiting for something to become true, with a deadline and a reason when it doesn't.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Long enough for anything local on a busy machine; a test that needs it all has failed for another reason.
pub const PATIENCE: Duration = Duration::from_secs(30);

const INTERVAL: Duration = Duration::from_millis(5);

/// Tries until `attempt` succeeds and gives what it gave. After [`PATIENCE`] the last refusal is the error.
pub fn until<T>(what: &str, attempt: impl FnMut() -> Result<T>) -> Result<T> {
    until_within(PATIENCE, what, attempt)
}

/// As [`until`], with a deadline of its own. The last attempt begins after the deadline, so that a machine that stood still for a
/// while is not blamed on what is waited for.
pub fn until_within<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        let late = started.elapsed() >= limit;
        match attempt() {
            Ok(value) => return Ok(value),
            Err(reason) if late => {
                return Err(reason).with_context(|| format!("waited {limit:?} in vain for {what}"));
            }
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_true_is_returned() {
        let mut tries = 0;
        let value = until("three tries", || {
            tries += 1;
            anyhow::ensure!(tries == 3, "only {tries}");
            Ok(tries)
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn what_never_becomes_true_is_reported_with_the_last_reason() {
        let error =
            until_within::<()>(Duration::from_millis(20), "a miracle", || anyhow::bail!("none today"))
                .unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 20ms in vain for a miracle: none today");
    }
}
