//! How many proxies an xDS server can keep up to date, and how fast: a swarm of clients of ours, in this process, against any server.
//!
//! The clients do what Envoys do and cost little, because they run beside the server on the same cores. Each has a connection of its own, as
//! Envoys do. A time ends when a client has handed its acknowledgement to the kernel.

mod board;
mod configuration;
mod figures;
mod swarm;
mod telemetry;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::process::memory;
use spillway_tests::scene::Scene;
use spillway_tests::xds_client::message::type_url;

use crate::machine;

use self::board::SEQUENCES;
use self::configuration::Configuration;
use self::figures::Figures;
use self::swarm::{Goal, Plan, Swarm};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Measure the server at this address. Without it, `spillway serve` is started on documents made for the purpose
    #[arg(long, value_name = "HOST:PORT")]
    target: Option<SocketAddr>,
    /// The process id of the server at --target, for its memory and CPU time
    #[arg(long, requires = "target")]
    pid: Option<u32>,
    /// How to make one edit of the server at --target that changes a route configuration: a shell command, with the number of the edit in $EDIT
    #[arg(long, value_name = "COMMAND", requires = "target")]
    edit: Option<String>,
    /// The clients' node.cluster
    #[arg(long, default_value = "edge")]
    fleet: String,
    /// Delta ADS streams
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// How many of them share one connection. Envoys share none
    #[arg(long, default_value_t = 1)]
    streams_per_connection: usize,
    /// What to measure
    #[arg(long, value_enum, default_value = "all")]
    scenario: Scenario,
    /// Backends in the documents, for connect, edit and reconnect
    #[arg(long, default_value_t = 10)]
    backends: usize,
    /// Edits of a weight
    #[arg(long, default_value_t = 20)]
    edits: u32,
    /// Streams for churn
    #[arg(long, default_value_t = 100)]
    churn_streams: usize,
    /// Backends for churn, of ten endpoints each
    #[arg(long, default_value_t = 1_000)]
    churn_backends: usize,
    /// Edits of endpoints a second
    #[arg(long, default_value_t = 100)]
    churn_rate: u32,
    /// For so many seconds
    #[arg(long, default_value_t = 30)]
    churn_seconds: u32,
    /// Rounds of telemetry
    #[arg(long, default_value_t = 9)]
    telemetry_rounds: u32,
    /// Edits of a weight of each server in a round of telemetry
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    telemetry_edits: u32,
    /// Seconds without edits after the rounds; figures are delivered once a minute
    #[arg(long, default_value_t = 66)]
    telemetry_idle: u64,
    /// One more variable of the server that exports telemetry, such as `OTEL_TRACES_SAMPLER=always_off`; can be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    telemetry_env: Vec<String>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// All of them
    All,
    /// All clients connect at once
    Connect,
    /// A weight is edited
    Edit,
    /// All clients come back, holding what they had, and an edit is made meanwhile
    Reconnect,
    /// Endpoints are edited without a pause
    Churn,
    /// What traces of every edit, metrics and logs cost the server. Takes twice as many streams as were asked for; not a part of all
    Telemetry,
}

impl Scenario {
    fn includes(self, other: Self) -> bool {
        self == Self::All || self == other
    }
}

/// A server that is measured.
struct Server<'a> {
    /// Absent where it is on another machine.
    id: Option<u32>,
    target: SocketAddr,
    edit: Box<dyn Fn(u32) -> Result<()> + 'a>,
    edits: u32,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.streams > 0 && options.streams_per_connection > 0, "no streams, no figures");
    ensure!(options.backends > 1 && options.churn_backends > 1, "two Backends at least");
    let mut figures = Figures::default();
    println!("{}\n", machine::line()?);
    if options.scenario == Scenario::Telemetry {
        ensure!(options.target.is_none(), "telemetry compares two servers of ours, so no --target");
        telemetry::run(options, &mut figures)?;
    } else if let Some(target) = options.target {
        ensure!(options.scenario != Scenario::Churn, "churn needs documents of its own, so no --target");
        let edit = |number: u32| -> Result<()> {
            let command = options.edit.as_deref().unwrap_or_default();
            let status = Command::new("sh").args(["-c", command]).env("EDIT", number.to_string()).status()?;
            ensure!(status.success(), "the edit failed: {status}");
            Ok(())
        };
        let edits = if options.edit.is_some() { options.edits } else { 0 };
        let server = Server { id: options.pid, target, edit: Box::new(edit), edits };
        hold(options, &server, &mut figures)?;
    } else {
        if options.scenario != Scenario::Churn {
            own(options.backends, 2, &options.fleet, |configuration, target, id| {
                // Every edit is one: no weight follows itself.
                let edit = |number| configuration.weigh(1 + number % 49);
                let server = Server { id: Some(id), target, edit: Box::new(edit), edits: options.edits };
                hold(options, &server, &mut figures)
            })?;
        }
        if options.scenario.includes(Scenario::Churn) {
            own(options.churn_backends, 10, &options.fleet, |configuration, target, id| {
                churn(options, configuration, target, id, &mut figures)
            })?;
        }
    }
    figures.print()
}

/// Starts a server of ours on documents of this size, and measures it.
fn own(
    backends: usize,
    endpoints: usize,
    fleet: &str,
    measure: impl FnOnce(&Configuration, SocketAddr, u32) -> Result<()>,
) -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let folder = scene.folder().join("documents");
        let configuration = Configuration::write(&folder, fleet, backends, endpoints)?;
        let mut control_plane = ControlPlane::start(&client, configuration.folder(), scene.folder())?;
        let (target, id) = (control_plane.xds(), control_plane.process()?.id());
        measure(&configuration, target, id)?;
        control_plane.process()?.alive()
    })
}

/// Connect, edit, reconnect: one configuration that many clients hold.
fn hold(options: &Options, server: &Server<'_>, figures: &mut Figures) -> Result<()> {
    let plan = plan(options, server.target, options.streams);
    let memory = || server.id.map(memory).transpose();
    let cpu = || server.id.map(machine::cpu_micros).transpose();
    let (memory_before, cpu_before) = (memory()?, cpu()?);
    let from = Instant::now();
    let mut swarm = Swarm::start(plan)?;
    swarm.wait("all clients to have connected and acknowledged everything")?;
    let connected = "cold connect: all hold and have acknowledged everything";
    figures.times(connected, &swarm.board().times(from));
    figures.cpu(connected, cpu_before, cpu()?);
    swarm.settle()?;
    let bytes = swarm.board().bytes.load(Ordering::Relaxed);
    figures.count("bytes received by each stream", bytes / u64::try_from(swarm.streams())?);
    figures.memory(memory_before, memory()?, swarm.streams());

    if options.scenario.includes(Scenario::Edit) && server.edits > 0 {
        let (mut times, mut slowest) = (Vec::new(), Vec::new());
        let cpu_before = cpu()?;
        for number in 0..server.edits {
            let from = swarm.aim(Goal::Kind(type_url::ROUTE));
            (server.edit)(number)?;
            swarm.wait("all clients to have acknowledged the edit")?;
            let round = swarm.board().times(from);
            slowest.extend(round.iter().max());
            times.extend(round);
        }
        figures.times("edit of one weight to a stream's acknowledgement", &times);
        figures.times("edit of one weight to the last acknowledgement", &slowest);
        figures.cpu("all edits of a weight", cpu_before, cpu()?);
        figures.peak(memory()?);
    }
    if options.scenario.includes(Scenario::Reconnect) && server.edits > 0 {
        let cpu_before = cpu()?;
        // Who holds everything is sent nothing: that a client is back shows in that it follows an edit made meanwhile.
        let from = swarm.reconnect(Goal::Kind(type_url::ROUTE));
        (server.edit)(server.edits)?;
        swarm.wait("all clients to be back and to follow")?;
        let name = "reconnect of all, holding everything, until all follow an edit";
        figures.times(name, &swarm.board().times(from));
        figures.cpu(name, cpu_before, cpu()?);
        figures.peak(memory()?);
    }
    figures.count("connections that failed", swarm.board().failures.load(Ordering::Relaxed));
    Ok(())
}

/// Endpoints that come and go without a pause.
fn churn(
    options: &Options,
    configuration: &Configuration,
    target: SocketAddr,
    id: u32,
    figures: &mut Figures,
) -> Result<()> {
    let from = Instant::now();
    let mut swarm = Swarm::start(plan(options, target, options.churn_streams))?;
    swarm.wait("all clients to have connected and acknowledged everything")?;
    figures.times("churn: cold connect", &swarm.board().times(from));
    swarm.settle()?;

    let total = options.churn_rate * options.churn_seconds;
    let number = |edit: u32| 2 + usize::try_from(edit).unwrap_or(0) % (SEQUENCES - 2);
    let last = number(total.checked_sub(1).context("no edits, no churn")?);
    swarm.aim(Goal::Sequence(last));
    let (cpu_before, from) = (machine::cpu_micros(id)?, Instant::now());
    for edit in 0..total {
        // By the clock, so that a slow write does not slow the rate.
        let due = from + Duration::from_secs(1) * edit / options.churn_rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        swarm.board().write(number(edit));
        let backend = usize::try_from(edit)? % configuration.backends();
        configuration.move_endpoint(backend, number(edit))?;
    }
    let written = from.elapsed();
    let cpu = machine::cpu_micros(id)? - cpu_before;
    let end = Instant::now();
    swarm.wait("all clients to have acknowledged the last edit")?;
    figures.churn(swarm.board(), total, written, Duration::from_micros(cpu), end.elapsed(), swarm.streams());
    figures.peak(Some(memory(id)?));
    Ok(())
}

fn plan(options: &Options, target: SocketAddr, streams: usize) -> Plan {
    let streams_per_connection = options.streams_per_connection;
    Plan { target, fleet: options.fleet.clone(), streams, streams_per_connection }
}
