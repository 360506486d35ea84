//! What it costs the server to tell about itself: the same edits of two servers by turns, of which one exports traces of every edit, metrics and logs.
//!
//! Both run all the time, each with as many clients, so that what the machine does meanwhile meets both; the other one is idle while one is measured.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::otlp::{Received, Sink};
use spillway_tests::scene::Scene;
use spillway_tests::xds_client::message::type_url;

use super::configuration::Configuration;
use super::figures::Figures;
use super::swarm::{Goal, Swarm};
use super::{Options, plan, swarm};
use crate::machine;

/// Spans wait five seconds for company, lines one; what an edit gave is delivered by then.
const DELIVERY: Duration = Duration::from_secs(6);

/// A server with its clients.
struct Side {
    swarm: Swarm,
    configuration: Configuration,
    control_plane: ControlPlane,
    edits: u32,
    /// CPU time of an edit in each round.
    costs: Vec<Duration>,
}

impl Side {
    fn start(options: &Options, scene: &Scene, name: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let folder = scene.folder().join(name);
        let configuration =
            Configuration::write(&folder.join("documents"), &options.fleet, options.backends, 2)?;
        let mut control_plane = ControlPlane::start(&Client::new()?, configuration.folder(), &folder)?;
        control_plane.restart_in(variables)?;
        let mut swarm = Swarm::start(plan(options, control_plane.xds(), options.streams))?;
        swarm.wait("all clients to have connected and acknowledged everything")?;
        swarm.settle()?;
        Ok(Self { swarm, configuration, control_plane, edits: 0, costs: Vec::new() })
    }

    fn cpu(&mut self) -> Result<Duration> {
        self.control_plane.process()?.alive()?;
        Ok(Duration::from_micros(machine::cpu_micros(self.control_plane.process()?.id())?))
    }

    /// So many edits, each until every client has acknowledged it, and what is delivered of them afterwards.
    fn round(&mut self, edits: u32) -> Result<()> {
        let before = self.cpu()?;
        for _ in 0..edits {
            self.swarm.aim(Goal::Kind(type_url::ROUTE));
            self.edits += 1;
            // Every edit is one: no weight follows itself.
            self.configuration.weigh(1 + self.edits % 49)?;
            self.swarm.wait("all clients to have acknowledged the edit")?;
        }
        thread::sleep(DELIVERY);
        let cost = self.cpu()?.saturating_sub(before) / edits.max(1);
        self.costs.push(cost);
        Ok(())
    }
}

pub(super) fn run(options: &Options, figures: &mut Figures) -> Result<()> {
    // Two swarms in this process, and each would ask for its own alone.
    swarm::allow_sockets(2 * options.streams.div_ceil(options.streams_per_connection))?;
    let sink = Sink::start()?;
    let endpoint = format!("http://{}", sink.address());
    let mut variables = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    for variable in &options.telemetry_env {
        variables.push(variable.split_once('=').context("--telemetry-env needs NAME=VALUE")?);
    }
    Scene::play(|scene| {
        let mut off = Side::start(options, scene, "off", &[])?;
        let mut on = Side::start(options, scene, "on", &variables)?;
        let edits = options.telemetry_edits;
        let mut spans = 0;
        for round in 0..options.telemetry_rounds {
            let mut sides = [&mut off, &mut on];
            if round % 2 == 1 {
                sides.reverse();
            }
            for side in sides {
                side.round(edits)?;
            }
            let mut received = sink.received();
            spans += received.spans.iter().filter(|span| span.name == "push").count();
            // What was counted is not kept.
            *received = Received::default();
            eprintln!("bench: round {round}: off {:?}, on {:?}", off.costs.last(), on.costs.last());
        }
        let pushes = on.swarm.streams() * usize::try_from(on.edits)?;
        figures.telemetry("telemetry: CPU time of an edit", &off.costs, &on.costs);
        figures.share("telemetry: pushes of which a span arrived", spans, pushes);
        // Nothing happens to either for a while.
        let (before, from) = ([off.cpu()?, on.cpu()?], Instant::now());
        thread::sleep(Duration::from_secs(options.telemetry_idle));
        let (after, took) = ([off.cpu()?, on.cpu()?], from.elapsed());
        let shares = before
            .into_iter()
            .zip(after)
            .map(|(before, after)| after.saturating_sub(before).div_duration_f64(took));
        figures.idle(&shares.collect::<Vec<_>>());
        Ok(())
    })
}
