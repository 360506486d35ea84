//! One Envoy with one filter, and what is measured of it.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use spillway_tests::client::Client;
use spillway_tests::envoy::Envoy;
use spillway_tests::load::Load;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;

use super::Options;
use super::configuration;
use super::scenario::Scenario;
use crate::machine;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    None,
    Native,
    Lua,
    Spillway,
}

impl Filter {
    /// Ours last.
    pub(super) const ALL: [Self; 4] = [Self::None, Self::Native, Self::Lua, Self::Spillway];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "no filter",
            Self::Native => "native local_ratelimit",
            Self::Lua => "Lua copying a header",
            Self::Spillway => "Spillway",
        }
    }
}

/// Who answers what is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Answers {
    Direct,
    Upstream,
}

impl Answers {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct responses",
            Self::Upstream => "an upstream",
        }
    }
}

pub(crate) struct Variant {
    pub(super) filter: Filter,
    pub(super) envoy: Envoy,
    pub(super) url: String,
    rejects: bool,
    /// Nanoseconds of CPU time per request.
    pub(super) measured: Vec<u64>,
    /// Microseconds, at a fixed rate.
    pub(super) latencies: Vec<u64>,
    /// Until Envoy was ready.
    pub(super) start: Duration,
    _ports: [Port; 2],
}

impl Variant {
    #[allow(clippy::too_many_arguments, reason = "each is a dimension of the table")]
    pub(super) fn start(
        scene: &Scene,
        client: &Client,
        filter: Filter,
        scenario: &Scenario,
        rendered: &Value,
        answers: Answers,
        workers: usize,
    ) -> Result<Self> {
        let (listener, admin) = (Port::free()?, Port::free()?);
        let file = scene.folder().join(format!("{}.json", listener.number()));
        let bootstrap = configuration::bootstrap(rendered, filter, answers, &listener, &admin)?;
        fs::write(&file, bootstrap.to_string())?;
        let log = scene.log(&format!("envoy-{}", listener.number()));
        let started = Instant::now();
        let envoy = Envoy::start(client, &file, &admin, workers, &log)
            .with_context(|| format!("Envoy with {}", filter.as_str()))?;
        let start = started.elapsed();
        let url = format!("http://{}{}", listener.address(), scenario.path());
        let rejects = scenario.rejects && filter == Filter::Spillway;
        if rejects {
            // The one request that there is a token for.
            client.get(&url, &[TENANT])?;
        }
        let ports = [listener, admin];
        let (measured, latencies) = (Vec::new(), Vec::new());
        Ok(Self { filter, envoy, url, rejects, measured, latencies, start, _ports: ports })
    }

    /// Nanoseconds of CPU time per request, with as many requests as can be served.
    pub(super) fn load(&mut self, options: &Options) -> Result<u64> {
        let (connections, duration) = (options.connections.to_string(), format!("{}s", options.seconds));
        let id = self.envoy.process().id();
        let before = machine::cpu_micros(id)?;
        let output = Command::new("wrk")
            .args(["-t", "1", "-c", &connections, "-d", &duration, "-H", "x-tenant-id: acme", &self.url])
            .output()
            .context("cannot run wrk")?;
        let used = machine::cpu_micros(id)? - before;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        if text.contains("Socket errors") || text.contains("Non-2xx") != self.rejects {
            bail!(
                "not every request of the variant \"{}\" was answered as expected:\n{text}",
                self.filter.as_str()
            );
        }
        let requests = requests(&text).with_context(|| format!("wrk said nothing of requests:\n{text}"))?;
        (used * 1_000).checked_div(requests).context("wrk sent nothing")
    }

    /// Latencies with eight senders that pause between requests.
    pub(super) fn pace(&mut self, client: &Client) -> Result<()> {
        let load = Load::get(&self.url).header(TENANT.0, TENANT.1);
        let report = load.concurrency(8).pause(Duration::from_millis(4)).requests(2_000).run(client)?;
        let expected = if self.rejects { 429 } else { 200 };
        let others = report.other_than(&[expected]);
        ensure!(others.is_empty(), "{others:?}");
        let micros = |record: &spillway_tests::load::Record| (record.answered - record.sent).as_micros();
        self.latencies
            .extend(report.records.iter().map(|record| u64::try_from(micros(record)).unwrap_or(u64::MAX)));
        Ok(())
    }
}

pub(super) const TENANT: (&str, &str) = ("x-tenant-id", "acme");

/// `  83112 requests in 3.01s, 9.35MB read`.
fn requests(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_what_wrk_prints() {
        let output =
            "Running 3s test @ http://127.0.0.1/\n  1 threads\n  83112 requests in 3.01s, 9.35MB read\n";
        assert_eq!(requests(output), Some(83_112));
        assert_eq!(requests("unable to connect"), None);
    }
}
