//! What it costs to be watched: the same documents, the same filter, with and without what tells of requests.
//!
//! Each variant is a Gateway and a fleet of its own, with an Envoy that takes turns with the others. What an Envoy does between its turns counts too: spans go out
//! once a second, and logs are written when they have piled up. Every Envoy has the same time for that.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::load::quantile;
use spillway_tests::otlp::Sink;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;
use spillway_tests::wait;

use super::load::{Exchange, Senders};
use super::{Options, play};
use crate::machine;

/// The documents below `docs/examples/bench` that are watched, and a request that they are for.
const DOCUMENTS: &str = "everything";
const PATH: &str = "/orders/7";

/// As `deploy/prometheus/prometheus.yml` has it.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(5);
const SCRAPES: u32 = 20;

/// What a Gateway tells of its requests.
#[derive(Debug, Clone, Copy)]
struct Told {
    name: &'static str,
    spans: bool,
    log: bool,
}

/// Everything off first.
const VARIANTS: [Told; 4] = [
    Told { name: "nothing", spans: false, log: false },
    Told { name: "spans of 1 %", spans: true, log: false },
    Told { name: "access log", spans: false, log: true },
    Told { name: "everything", spans: true, log: true },
];

struct Variant {
    told: Told,
    envoy: Envoy,
    senders: Senders,
    /// CPU time used when the turn before this one began, in nanoseconds.
    began: Option<u64>,
    /// Nanoseconds per request, one a round.
    measured: Vec<u64>,
    _ports: [Port; 2],
}

impl Variant {
    /// Takes its turn. What it has used since the one before belongs to that.
    fn measure(&mut self, requests: usize) -> Result<()> {
        let now = machine::cpu_nanos(self.envoy.process().id())?;
        if let Some(before) = self.began.replace(now) {
            let used = now.saturating_sub(before);
            self.measured.push(used.checked_div(requests.try_into()?).context("nothing was sent")?);
        }
        self.senders.burst(requests).with_context(|| self.told.name)
    }

    /// What one look at all metrics costs.
    fn scrape(&mut self, client: &Client) -> Result<Duration> {
        let id = self.envoy.process().id();
        let url = format!("http://{}/stats/prometheus", self.envoy.admin());
        let before = machine::cpu_nanos(id)?;
        for _ in 0..SCRAPES {
            client.read(&url)?;
        }
        Ok(Duration::from_nanos(machine::cpu_nanos(id)?.saturating_sub(before)) / SCRAPES)
    }
}

/// Measures and prints.
pub(super) fn run(options: &Options) -> Result<()> {
    play(|scene| {
        let sink = Sink::start()?;
        let client = Client::new()?;
        let upstreams = Upstreams::start(scene, &client, &["orders"])?;
        let (mut variants, _control_plane) =
            start(scene, &client, &sink, upstreams.port("orders")?, options)?;
        for variant in &mut variants {
            variant.senders.burst(3 * options.requests)?;
        }
        let started = Instant::now();
        for _ in 0..=options.rounds() {
            for variant in &mut variants {
                variant.measure(options.requests)?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let scrape = variants.last_mut().context("no variants")?.scrape(&client)?;
        ensure!(!sink.received().spans.is_empty(), "no span has arrived");
        print(options, &variants, scrape)?;
        println!("\n{} spans arrived in {seconds:.0} s", sink.received().spans.len());
        Ok(())
    })
}

fn start(
    scene: &Scene,
    client: &Client,
    sink: &Sink,
    upstream: u16,
    options: &Options,
) -> Result<(Vec<Variant>, ControlPlane)> {
    let ports: Vec<_> = VARIANTS.iter().map(|_| Ok([Port::free()?, Port::free()?])).collect::<Result<_>>()?;
    let source = artifacts::workspace().join("docs/examples/bench").join(DOCUMENTS);
    let documents = Documents::copy(&source, &scene.folder().join("documents"), &[(8081, upstream)])?;
    // The Gateway of the documents stays, for a fleet that has no Envoy.
    let fleets = || (0..VARIANTS.len()).map(|number| format!("told-{number}"));
    let all = |before: &str| {
        fleets().map(|fleet| format!("{{{before}name: {fleet}}}")).collect::<Vec<_>>().join(", ")
    };
    documents.edit(
        "bench.yaml",
        &["parentRefs: [{name: bench}]", "targetRefs: [{kind: Gateway, name: bench}]"],
        &[
            &format!("parentRefs: [{{name: bench}}, {}]", all("")),
            &format!("targetRefs: [{{kind: Gateway, name: bench}}, {}]", all("kind: Gateway, ")),
        ],
    )?;
    for ((told, fleet), [web, _]) in VARIANTS.iter().zip(fleets()).zip(&ports) {
        let tracing = format!("\n  tracing: {{otlp: \"{}\", sampling: 1%}}", sink.address());
        let tracing = if told.spans { &*tracing } else { "" };
        let gateway = format!(
            "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {{name: {fleet}}}\nspec:\n  fleet: {fleet}{tracing}\n  \
             listeners: [{{name: web, address: 127.0.0.1, port: {}, protocol: HTTP, accessLog: {}}}]\n",
            web.number(),
            told.log
        );
        documents.write(&format!("{fleet}.yaml"), &gateway)?;
    }
    let control_plane = ControlPlane::start(client, documents.folder(), scene.folder())?;
    let variants = VARIANTS.into_iter().zip(fleets()).zip(ports).map(|((told, fleet), [web, admin])| {
        let bootstrap = scene.folder().join(format!("{fleet}.json"));
        control_plane.bootstrap(&fleet, &admin, &bootstrap, &[])?;
        let envoy = Envoy::start(client, &bootstrap, &admin, 1, &scene.log(&fleet))?;
        wait::until(&fleet, || client.read(&format!("http://{}{PATH}", web.address())).map(drop))?;
        let senders = Senders::connect(web.address(), &Exchange::new(PATH, &[200]), options.connections)?;
        Ok(Variant { told, envoy, senders, began: None, measured: Vec::new(), _ports: [web, admin] })
    });
    Ok((variants.collect::<Result<_>>()?, control_plane))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds with one digit behind the point")]
fn print(options: &Options, variants: &[Variant], scrape: Duration) -> Result<()> {
    let base = variants.first().context("no variants")?;
    println!(
        "{}; {} rounds of {} requests, {} connections\n",
        machine::line()?,
        options.rounds(),
        options.requests,
        options.connections
    );
    println!("| told of requests | CPU of a request (quarter to quarter) | added | |");
    println!("|---|---|---|---|");
    for variant in variants {
        let micros =
            |share| quantile(&variant.measured, share).map_or(f64::NAN, |nanos| nanos as f64 / 1_000.0);
        let added: Vec<_> = variant
            .measured
            .iter()
            .zip(&base.measured)
            .map(|(own, base)| own.cast_signed() - base.cast_signed())
            .collect();
        let added = quantile(&added, 0.5).map_or(f64::NAN, |nanos| nanos as f64 / 1_000.0);
        let share =
            100.0 * added / quantile(&base.measured, 0.5).map_or(f64::NAN, |nanos| nanos as f64 / 1_000.0);
        println!(
            "| {} | {:.1} us ({:.1} to {:.1}) | {added:+.1} us | {share:+.1} % |",
            variant.told.name,
            micros(0.5),
            micros(0.25),
            micros(0.75),
        );
    }
    let share = 100.0 * scrape.as_secs_f64() / SCRAPE_INTERVAL.as_secs_f64();
    println!(
        "\nA look at all metrics takes {:.1} ms; every {} s, that is {share:.2} % of a worker's time.",
        scrape.as_secs_f64() * 1_000.0,
        SCRAPE_INTERVAL.as_secs()
    );
    Ok(())
}
