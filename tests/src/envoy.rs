//! A real Envoy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::artifacts;
use crate::client::Client;
use crate::ports::Port;
use crate::process::Process;
use crate::wait;

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    client: Client,
    admin: SocketAddr,
    workers: usize,
}

impl Envoy {
    /// Starts one with this bootstrap file and waits until its workers run; `admin` is the port that the bootstrap names.
    ///
    /// With a control plane that isn't there, Envoy waits for its first configuration (15 s each kind of resource) before it is ready.
    pub fn start(
        client: &Client,
        bootstrap: &Path,
        admin: &Port,
        workers: usize,
        log: &Path,
    ) -> Result<Self> {
        let mut envoy = Self::launch(client, bootstrap, admin, workers, log)?;
        envoy.wait_ready()?;
        envoy.wait_settled()?;
        Ok(envoy)
    }

    /// Starts one and does not wait.
    pub fn launch(
        client: &Client,
        bootstrap: &Path,
        admin: &Port,
        workers: usize,
        log: &Path,
    ) -> Result<Self> {
        let concurrency = workers.to_string();
        let bootstrap = bootstrap.to_str().context("a path that is not UTF-8")?;
        // Without hot restart there is no shared memory segment to collide on, or to be left behind.
        let arguments = [
            "--config-path",
            bootstrap,
            "--concurrency",
            &concurrency,
            "--disable-hot-restart",
            "--log-level",
            "info",
            // The access log is written at once, not every ten seconds.
            "--file-flush-interval-msec",
            "100",
        ];
        let process = Process::start("Envoy", &artifacts::envoy()?, arguments, log)?;
        Ok(Self { process, client: client.clone(), admin: admin.address(), workers })
    }

    /// Waits until the workers run.
    pub fn wait_ready(&mut self) -> Result<()> {
        let url = format!("http://{}/ready", self.admin);
        wait::until("Envoy to be ready", || {
            self.process.alive()?;
            self.client.read(&url).map(drop)
        })
    }

    /// Waits until a filter that was downloaded has been configured for the second time, about a second after the first.
    ///
    /// Envoy builds the VM again for that. Requests don't notice, but who compares counters to the last digit does: what a VM has counted
    /// and not yet handed over ends with it.
    pub fn wait_settled(&mut self) -> Result<()> {
        wait::until("the filter's VMs to stay", || {
            self.process.alive()?;
            let stats = self.stats("wasm")?;
            let value =
                |name: &str| stats.iter().filter(|(key, _)| key.contains(name)).map(|(_, n)| n).sum::<u64>();
            if value("remote_load_fetch_successes") == 0 {
                return Ok(());
            }
            ensure!(value("remote_load_cache_hits") > 0, "the filter was configured once only");
            // One for each worker, one for the main thread, and the one that they are copies of.
            let (vms, most) = (value("v8.active"), self.workers + 2);
            ensure!(usize::try_from(vms)? <= most, "{vms} VMs are there, not {most}");
            Ok(())
        })
    }

    /// What `envoy --mode validate` says to a file; an error with its output unless it accepts.
    pub fn validate(file: &Path) -> Result<()> {
        let output = Command::new(artifacts::envoy()?)
            .args(["--mode", "validate", "--config-path"])
            .arg(file)
            .output()?;
        ensure!(
            output.status.success(),
            "Envoy refuses {}:\n{}",
            file.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its admin address.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Every counter and gauge that has been used and whose name contains `part`.
    pub fn stats(&self, part: &str) -> Result<BTreeMap<String, u64>> {
        let url = format!("http://{}/stats?usedonly&filter={}", self.admin, part.replace('.', "\\."));
        let mut stats = BTreeMap::new();
        for line in self.client.read(&url)?.body.lines() {
            if let Some((name, value)) = line.split_once(": ")
                && let Ok(value) = value.parse()
            {
                stats.insert(name.to_owned(), value);
            }
        }
        Ok(stats)
    }

    /// One counter or gauge, 0 if it was never used.
    pub fn stat(&self, name: &str) -> Result<u64> {
        Ok(self.stats(name)?.get(name).copied().unwrap_or(0))
    }

    /// What Prometheus would read.
    pub fn prometheus(&self) -> Result<String> {
        Ok(self.client.read(&format!("http://{}/stats/prometheus", self.admin))?.body)
    }

    /// The configuration in force.
    pub fn config_dump(&self) -> Result<Value> {
        self.client.read(&format!("http://{}/config_dump", self.admin))?.json()
    }
}
