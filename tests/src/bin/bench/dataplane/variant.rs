//! One Envoy with one filter, and what is measured of it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use spillway_tests::client::Client;
use spillway_tests::crossings;
use spillway_tests::envoy::Envoy;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;

use super::Options;
use super::configuration;
use super::load::{Exchange, Senders, TENANT};
use super::memory;
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
            Self::Direct => "Envoy",
            Self::Upstream => "an upstream",
        }
    }
}

pub(crate) struct Variant {
    pub(super) filter: Filter,
    pub(super) workers: usize,
    pub(super) envoy: Envoy,
    pub(super) url: String,
    senders: Senders,
    /// Nanoseconds of CPU time per request, one a round.
    pub(super) measured: Vec<u64>,
    /// Requests so far, and the time that they took.
    pub(super) sent: (usize, Duration),
    /// Microseconds, at a fixed rate.
    pub(super) latencies: Vec<u64>,
    /// Until Envoy was ready.
    pub(super) start: Duration,
    _ports: [Port; 2],
}

impl Variant {
    pub(super) fn start(
        scene: &Scene,
        client: &Client,
        (filter, workers): (Filter, usize),
        (scenario, answers): (&Scenario, Answers),
        rendered: &Value,
        options: &Options,
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
        let path = scenario.path();
        let url = format!("http://{}{path}", listener.address());
        let rejects = scenario.rejects && filter == Filter::Spillway;
        if rejects {
            // The one request that there is a token for.
            client.get(&url, &[("x-tenant-id", TENANT)])?;
        }
        let exchange = Exchange::new(&path, &[if rejects { 429 } else { 200 }]);
        let senders = Senders::connect(listener.address(), &exchange, options.connections)?;
        Ok(Self {
            filter,
            workers,
            envoy,
            url,
            senders,
            measured: Vec::new(),
            sent: (0, Duration::ZERO),
            latencies: Vec::new(),
            start,
            _ports: [listener, admin],
        })
    }

    /// A burst that is not measured: buffers, caches and the module's compilation are not what it is about.
    pub(super) fn warm_up(&mut self, requests: usize) -> Result<()> {
        self.senders.burst(requests)
    }

    /// Takes its turn.
    pub(super) fn measure(&mut self, requests: usize) -> Result<()> {
        /// What comes after the last answer (logging, ticks) belongs to it.
        const AFTER: Duration = Duration::from_millis(3);
        let id = self.envoy.process().id();
        let (before, began) = (machine::cpu_nanos(id)?, Instant::now());
        self.senders.burst(requests).with_context(|| self.filter.as_str())?;
        let (total, time) = &mut self.sent;
        *total += requests;
        *time += began.elapsed();
        std::thread::sleep(AFTER);
        let used = machine::cpu_nanos(id)?.saturating_sub(before);
        self.measured.push(used.checked_div(requests.try_into()?).context("nothing was sent")?);
        Ok(())
    }

    /// Requests a second that it served when there were always more.
    pub(super) fn throughput(&self) -> u32 {
        let (sent, time) = self.sent;
        let millis = time.as_millis().max(1);
        u32::try_from(sent as u128 * 1_000 / millis).unwrap_or(u32::MAX)
    }

    /// Measures latencies at so many requests a second.
    pub(super) fn pace(&mut self, rate: u32, duration: Duration) -> Result<()> {
        self.latencies.extend(self.senders.pace(rate, duration).with_context(|| self.filter.as_str())?);
        Ok(())
    }

    /// How often its workers write what they share in a burst of requests, and how often in vain.
    pub(super) fn writes(&mut self, client: &Client, requests: usize) -> Result<(usize, usize)> {
        let Self { envoy, senders, .. } = self;
        crossings::writes(envoy, client, || senders.burst(requests))
    }

    /// The memory of the worker's VM in bytes, now and after each of so many tenants has sent a request.
    pub(super) fn grow(&mut self, tenants: usize) -> Result<(u64, u64)> {
        let id = self.envoy.process().id();
        let largest = || anyhow::Ok(memory::of_vms(id)?.first().copied().unwrap_or(0));
        let before = largest()?;
        self.senders.burst_of_tenants(tenants)?;
        Ok((before, largest()?))
    }
}
