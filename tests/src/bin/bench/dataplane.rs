//! CPU time per request: the currency in which a filter is paid, because a proxy that needs twice of it serves half.
//!
//! Each scenario is a directory of documents. The control plane renders it, a real Envoy takes it, and what that Envoy then says of its configuration is made into static
//! configurations that differ in nothing but the filter: none, the native limit, Lua that copies a header, ours. Ours alone has what belongs to it: forged headers
//! are stripped, and the key goes to the upstream. The variants are loaded in turns of some hundredths of a second, and what a filter adds is the median over the rounds of what it added in
//! that round, so that whatever else the machine does meets all of them.

mod configuration;
mod load;
mod memory;
mod picture;
mod report;
mod scenario;
mod telemetry;
mod variant;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use spillway_tests::client::Client;
use spillway_tests::crossings;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;

use self::report::{Measured, Report};
use self::scenario::{SCENARIOS, Scenario};
use self::variant::{Answers, Filter, Variant};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often each variant takes its turn
    #[arg(long, default_value_t = 61)]
    rounds: usize,
    /// Requests in a turn
    #[arg(long, default_value_t = 1_500)]
    requests: usize,
    /// Connections that send at the same time
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// A first impression: few rounds, short latencies
    #[arg(long)]
    quick: bool,
    /// Something else: what spans and an access log cost beside the same filter, with an upstream
    #[arg(long)]
    telemetry: bool,
    /// Only scenarios whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Who answers: `direct` (Envoy itself, so that no upstream's cost hides the difference), `upstream` or both
    #[arg(long, value_enum)]
    answers: Option<Answers>,
    /// Requests a second at which latencies are taken, instead of half of what the slowest variant can serve
    #[arg(long)]
    rate: Option<u32>,
    /// Also write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also draw them into this file, as SVG
    #[arg(long)]
    svg: Option<PathBuf>,
}

impl Options {
    const fn rounds(&self) -> usize {
        if self.quick { 11 } else { self.rounds }
    }

    const fn paced(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 1_500 })
    }
}

/// Requests of which every write of shared data is looked at.
const TRACED: usize = 2_000;

/// So many tenants are as many as the filter keeps for a rule.
const TENANTS: usize = 65_536;

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.telemetry {
        return telemetry::run(options);
    }
    let mut report = Report::new(options)?;
    let wanted = |scenario: &&Scenario| options.only.as_ref().is_none_or(|part| scenario.name.contains(part));
    for scenario in SCENARIOS.iter().filter(wanted) {
        for answers in [Answers::Direct, Answers::Upstream] {
            let planned = answers == Answers::Direct || scenario.upstream;
            if options.answers.map_or(planned, |only| only == answers) {
                eprintln!("{}, answered by {}", scenario.name, answers.as_str());
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
    let mut kinds: Vec<_> = Filter::ALL.map(|filter| (filter, 1)).into();
    if scenario.two_workers && answers == Answers::Direct {
        kinds.extend([Filter::None, Filter::Lua, Filter::Spillway].map(|filter| (filter, 2)));
    }
    let mut variants = kinds
        .into_iter()
        .map(|kind| Variant::start(scene, &client, kind, (scenario, answers), &rendered, options))
        .collect::<Result<Vec<_>>>()?;
    for variant in &mut variants {
        variant.warm_up(3 * options.requests)?;
    }
    for _ in 0..options.rounds() {
        for variant in &mut variants {
            variant.measure(options.requests)?;
        }
    }
    if answers == Answers::Direct {
        // Half of what the slowest can do, the same for all; again in turns.
        let slowest = variants.iter().filter(|one| one.workers == 1).map(Variant::throughput).min();
        let rate = options.rate.unwrap_or(slowest.context("nothing was measured")? / 2);
        for _ in 0..2 {
            for variant in variants.iter_mut().filter(|one| one.workers == 1) {
                variant.pace(rate, options.paced())?;
            }
        }
    }
    variants.into_iter().map(|mut variant| finish(&mut variant, scenario, answers, &client)).collect()
}

/// What is asked once, at the end.
fn finish(variant: &mut Variant, scenario: &Scenario, answers: Answers, client: &Client) -> Result<Measured> {
    let mut measured = Measured::of(scenario.name, answers, variant)?;
    if variant.filter == Filter::Spillway {
        if variant.workers > 1 {
            measured.writes = Some((TRACED, variant.writes(client, TRACED)?));
        } else {
            let (url, tenant) = (variant.url.clone(), [("x-tenant-id", load::TENANT)]);
            // So that what is kept between requests is there.
            client.get(&url, &tenant)?;
            let crossings = crossings::count(&mut variant.envoy, client, &url, &tenant, "proxy_on_log")?;
            measured.crossings = Some(crossings);
            if scenario.rejects {
                // Here each tenant's bucket stays empty, so all are kept.
                measured.vm = Some(variant.grow(TENANTS)?);
            }
        }
    }
    Ok(measured)
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
