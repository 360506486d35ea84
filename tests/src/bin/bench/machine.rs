//! On what the figures were taken.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use spillway_tests::artifacts;

/// One line about the processor, the kernel and Envoy.
pub(crate) fn line() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let output = Command::new(artifacts::envoy()?).arg("--version").output().context("cannot run Envoy")?;
    let version = String::from_utf8_lossy(&output.stdout);
    // `.../envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`
    let version = version
        .rsplit("version: ")
        .next()
        .and_then(|version| version.split('/').nth(1))
        .unwrap_or("of an unknown version");
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores of {model}, Linux {}, Envoy {version}", kernel.trim()))
}

/// CPU time that a process has used, to the nanosecond; what a thread has used since it last waited for something may be missing.
pub(crate) fn cpu_nanos(id: u32) -> Result<u64> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{id}/task")).context("the process is gone")? {
        // A thread that ends meanwhile did not do what is measured.
        let used = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanos += used.split(' ').next().and_then(|used| used.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos)
}

/// CPU time that a process has used, in user and kernel mode and all its threads, in microseconds.
pub(crate) fn cpu_micros(id: u32) -> Result<u64> {
    /// Linux reports these times in units of 1/100 s on every architecture that Envoy is built for.
    const MICROS_PER_TICK: u64 = 10_000;
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("the process is gone")?;
    // The name in parentheses may contain anything; fields are counted after it. utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").context("unreadable /proc/PID/stat")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
    let (Some(Ok(user)), Some(Ok(system))) = (times.next(), times.next()) else {
        anyhow::bail!("unreadable /proc/PID/stat: {stat}");
    };
    Ok((user + system) * MICROS_PER_TICK)
}
