//! Constant load by programs of others: wrk, which speaks HTTP/1.1, and h2load, which speaks HTTP/2.
//!
//! Both are started again and again, a few seconds each time, so that new connections are part of the load, and so that every round ends with the program's
//! own count of what failed.

use std::panic;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::artifacts;
use crate::debian::Program;

/// A program that makes load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generator {
    /// Eight connections, each waiting 10 ms after an answer, for two seconds a round.
    Wrk,
    /// As `Wrk`, with a new connection for every request.
    WrkReconnecting,
    /// Four connections with 50 requests a second each; a round is 400 requests, and each of them has to be answered.
    H2load,
}

/// Does something while each of these makes load, and gives what it gave, and how many requests were answered. Every request has to be answered with a
/// status below 400: the first that was not is the error.
pub fn beside<T>(loads: &[(Generator, &str)], act: impl FnOnce() -> Result<T>) -> Result<(T, Vec<u64>)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let running: Vec<_> =
            loads.iter().map(|(generator, url)| scope.spawn(move || generator.rounds(url, stop))).collect();
        let given = act();
        stop.store(true, Ordering::Relaxed);
        let counts = running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|broken| panic::resume_unwind(broken)))
            .collect::<Result<Vec<_>>>();
        Ok((given?, counts?))
    })
}

impl Generator {
    fn rounds(self, url: &str, stop: &AtomicBool) -> Result<u64> {
        let mut answered = 0;
        // However short the act is, there was load.
        while answered == 0 || !stop.load(Ordering::Relaxed) {
            answered += self.round(url)?;
        }
        Ok(answered)
    }

    fn round(self, url: &str) -> Result<u64> {
        let mut command = self.command()?;
        let output = command.arg(url).output().with_context(|| format!("cannot run {command:?}"))?;
        let told = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{command:?}: {told}{}", String::from_utf8_lossy(&output.stderr));
        let answered = match self {
            Self::Wrk | Self::WrkReconnecting => of_wrk(&told),
            Self::H2load => of_h2load(&told),
        };
        answered.with_context(|| format!("{url}:\n{told}"))
    }

    fn command(self) -> Result<Command> {
        match self {
            Self::Wrk | Self::WrkReconnecting => {
                let mut command = Program::find("wrk", "wrk", "SPILLWAY_WRK")?.command();
                command.args([
                    "--threads",
                    "1",
                    "--connections",
                    "8",
                    "--duration",
                    "2s",
                    "--timeout",
                    "20s",
                ]);
                if self == Self::WrkReconnecting {
                    command.args(["--header", "connection: close"]);
                }
                command.arg("--script").arg(artifacts::workspace().join("tests/lua/steady.lua"));
                Ok(command)
            }
            Self::H2load => {
                let mut command = Program::find("nghttp2-client", "h2load", "SPILLWAY_H2LOAD")?.command();
                command.args(["--clients", "4", "--requests", "400", "--rps", "50"]);
                command.args(["--connection-inactivity-timeout", "20"]);
                Ok(command)
            }
        }
    }
}

/// wrk says nothing of failures where there were none.
fn of_wrk(told: &str) -> Result<u64> {
    for trouble in ["Socket errors", "Non-2xx"] {
        ensure!(!told.contains(trouble), "{trouble}");
    }
    let line = told.lines().find_map(|line| line.split_once(" requests in ")).context("no count")?;
    Ok(line.0.trim().parse()?)
}

/// `requests: 400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout`
fn of_h2load(told: &str) -> Result<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix("requests: ")).context("no count")?;
    let count = |what: &str| -> Result<u64> {
        let part = line.split(", ").find_map(|part| part.strip_suffix(what));
        Ok(part.ok_or_else(|| anyhow!("nothing is said of{what}"))?.parse()?)
    };
    ensure!(count(" succeeded")? == count(" total")?, "not all succeeded");
    count(" succeeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_found_in_what_the_programs_say() {
        let wrk =
            "  8 threads and 8 connections\n  1467 requests in 2.00s, 271.00KB read\nRequests/sec: 733\n";
        assert_eq!(of_wrk(wrk).unwrap(), 1_467);
        for trouble in
            ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 7\n"]
        {
            assert!(of_wrk(&format!("{wrk}{trouble}")).is_err());
        }
        let h2load = |counts: &str| format!("finished in 2.0s\nrequests: {counts}\nstatus codes: 3 2xx\n");
        let all = "4 total, 4 started, 4 done, 4 succeeded, 0 failed, 0 errored, 0 timeout";
        assert_eq!(of_h2load(&h2load(all)).unwrap(), 4);
        for some in [
            "4 total, 4 started, 4 done, 3 succeeded, 1 failed, 0 errored, 0 timeout",
            "4 total, 4 started, 3 done, 3 succeeded, 0 failed, 0 errored, 0 timeout",
        ] {
            assert!(of_h2load(&h2load(some)).is_err());
        }
        assert!(of_wrk("").is_err() && of_h2load("").is_err());
    }
}
