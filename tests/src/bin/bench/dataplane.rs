//! CPU time per request: the currency in which a filter is paid, because a proxy that needs twice of it serves half.
//!
//! Each scenario is a directory of documents. The control plane renders it, a real Envoy takes it, and what that Envoy then says of its configuration is made into static
//! configurations that differ in nothing but the filter: none, the native limit, Lua that copies a header, ours. Ours alone has what belongs to it: forged headers
//! are stripped, and the key goes to the upstream. The variants are loaded in turns, round after round, so that whatever else the machine does meets all of them.

mod configuration;
mod crossings;
mod report;
mod scenario;
mod variant;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::client::Client;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;

use self::report::{Measured, Report};
use self::scenario::{SCENARIOS, Scenario};
use self::variant::{Answers, Filter, Variant};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often each variant is measured
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of a measurement
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Connections that send at the same time
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Envoy's worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Only scenarios whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Who answers: `direct` (Envoy itself, so that no upstream's cost hides the difference), `upstream` or both
    #[arg(long, value_enum)]
    answers: Option<Answers>,
    /// Also write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also draw them into this file, as SVG
    #[arg(long)]
    svg: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let found = Command::new("wrk").arg("-v").output().is_ok();
    ensure!(found, "the load comes from wrk, which is not installed: apt-get install wrk");
    let mut report = Report::new(options)?;
    let wanted = |scenario: &&Scenario| options.only.as_ref().is_none_or(|part| scenario.name.contains(part));
    for scenario in SCENARIOS.iter().filter(wanted) {
        for answers in [Answers::Direct, Answers::Upstream] {
            if options.answers.is_none_or(|only| only == answers) {
                eprintln!("{}, {}", scenario.name, answers.as_str());
                report.add(play(|scene| measure(scene, scenario, answers, options))?);
            }
        }
    }
    report.print();
    if let Some(file) = &options.json {
        fs::write(file, report.json()?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &options.svg {
        fs::write(file, report.svg()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// All variants of one scenario.
fn measure(scene: &Scene, scenario: &Scenario, answers: Answers, options: &Options) -> Result<Vec<Measured>> {
    let client = Client::new()?;
    let upstreams = Upstreams::start(scene, &client, &["orders"])?;
    let rendered = scenario.render(scene, &client, upstreams.port("orders")?)?;
    let mut variants = Vec::new();
    for filter in Filter::ALL {
        variants.push(Variant::start(scene, &client, filter, scenario, &rendered, answers, options.workers)?);
    }
    for variant in &mut variants {
        // Buffers, caches and the module's compilation are not what is measured.
        variant.load(options)?;
    }
    for _ in 0..options.rounds {
        for variant in &mut variants {
            let nanos = variant.load(options)?;
            variant.measured.push(nanos);
        }
    }
    // Latencies at the same rate for all, about a tenth of what one worker can do; again in turns.
    for _ in 0..options.rounds.min(3) {
        for variant in &mut variants {
            variant.pace(&client)?;
        }
    }
    let crossings = variants.last_mut().map(|ours| crossings::count(ours, &client)).transpose()?;
    let name = scenario.name;
    variants
        .into_iter()
        .map(|mut variant| {
            let crossings = if variant.filter == Filter::Spillway { crossings.clone() } else { None };
            Measured::of(name, answers, &mut variant, crossings)
        })
        .collect()
}

/// A scene that gives something.
fn play<T>(test: impl FnOnce(&Scene) -> Result<T>) -> Result<T> {
    let mut given = None;
    Scene::play(|scene| {
        given = Some(test(scene)?);
        Ok(())
    })?;
    given.context("the scene was not played")
}
