//! How long a changed limit takes from the write of its file until every worker of a loaded Envoy enforces it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::load::{Load, Running, quantile};
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;
use spillway_tests::wait;

use crate::machine;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often the limit is changed, cut and raised in turns
    #[arg(long, default_value_t = 50)]
    changes: usize,
    /// Print every change, too
    #[arg(long)]
    each: bool,
    /// Requests under way at any time
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Milliseconds between an answer and the same sender's next request; 0 takes every core there is, the control plane's too
    #[arg(long, default_value_t = 1)]
    pause: u64,
}

const FILE: &str = "protection.yaml";
/// As the demo's document has it.
const WRITTEN: &str = "      rate: 10/s\n      burst: 20\n";
/// More than this load can use.
const HIGH: &str = "      rate: 1000000/s\n      burst: 1000000\n";
/// One request, and then none for an hour.
const LOW: &str = "      rate: 1/h\n      burst: 1\n";
/// The change is complete when so many answers in a row, from all connections, follow the new limit.
const ROW: usize = 200;

/// One change.
struct Change {
    /// From the write to the first answer that only the new limit explains.
    first: Duration,
    /// From the write to the last answer that only the old limit explains.
    last: Duration,
    /// The longest time without any answer: what the machine itself lost to other programs, or Envoy to the change.
    gap: Duration,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let (listener, admin) = (Port::free()?, Port::free()?);
        let upstreams = Upstreams::start(scene, &client, &["orders-v1", "orders-v2", "payments"])?;
        let ports = [
            (10_000, listener.number()),
            (8081, upstreams.port("orders-v1")?),
            (8082, upstreams.port("orders-v2")?),
            (8083, upstreams.port("payments")?),
        ];
        let source = artifacts::workspace().join("demo/documents");
        let documents = Documents::copy(&source, &scene.folder().join("documents"), &ports)?;
        documents.edit(FILE, &[WRITTEN], &[HIGH])?;
        let control_plane = ControlPlane::start(&client, documents.folder(), scene.folder())?;
        let bootstrap = scene.folder().join("bootstrap.yaml");
        control_plane.bootstrap("edge", &admin, &bootstrap, &[])?;
        let _envoy = Envoy::start(&client, &bootstrap, &admin, 2, &scene.log("envoy"))?;
        let url = format!("http://{}/orders/acme/7", listener.address());
        wait::until("Envoy to serve", || client.read(&url).map(drop))?;

        let pause = Duration::from_millis(options.pause);
        let load = Load::get(&url).concurrency(options.concurrency).pause(pause).requests(5_000_000);
        let mut load = load.start(&client)?;
        let mut changes = Vec::new();
        for number in 0..options.changes {
            changes.push(change(&documents, &mut load, number.is_multiple_of(2))?);
        }
        let report = load.finish()?;
        let failed = report.other_than(&[200, 429]);
        print(options, &changes, report.records.len(), report.elapsed())?;
        ensure!(failed.is_empty(), "requests failed: {failed:?}");
        Ok(())
    })
}

fn change(documents: &Documents, load: &mut Running, cut: bool) -> Result<Change> {
    let (old, new, status) = if cut { (HIGH, LOW, 429) } else { (LOW, HIGH, 200) };
    let from = load.answers();
    let written = Instant::now();
    documents.edit(FILE, &[old], &[new])?;
    wait::until("the new limit", || {
        load.going_on()?;
        let recent = load.since(load.answers().saturating_sub(ROW).max(from));
        let row = recent.iter().rev().take_while(|record| record.status() == Some(status)).count();
        ensure!(row >= ROW, "only {row} answers in a row follow it");
        Ok(())
    })?;
    let records = load.since(from);
    let since_write = |at: Instant| at.saturating_duration_since(written);
    // Answered before the write: still the old limit's, and none of this change's business.
    let after = || records.iter().filter(move |record| record.sent >= written);
    let first =
        after().filter(|r| r.status() == Some(status)).map(|r| r.answered).min().context("no new answer")?;
    let last = after().filter(|r| r.status() != Some(status)).map(|r| r.answered).max().unwrap_or(written);
    let answered: Vec<_> = std::iter::once(written).chain(after().map(|record| record.answered)).collect();
    let gaps =
        answered.windows(2).filter_map(|pair| Some(pair.get(1)?.saturating_duration_since(*pair.first()?)));
    let gap = gaps.max().unwrap_or_default();
    Ok(Change { first: since_write(first), last: since_write(last), gap })
}

fn print(options: &Options, changes: &[Change], requests: usize, elapsed: Duration) -> Result<()> {
    println!("{}", machine::line()?);
    println!(
        "{} changes, cut and raised in turns, under {requests} requests in {:.1} s ({} at a time, 2 workers)\n",
        changes.len(),
        elapsed.as_secs_f64(),
        options.concurrency
    );
    println!("| from the write of the file to | p50 | p99 | most |\n|---|---|---|---|");
    if options.each {
        for (number, Change { first, last, gap }) in changes.iter().enumerate() {
            eprintln!(
                "{}: first new {first:.1?}, last old {last:.1?}; longest silence {gap:.1?}",
                number + 1
            );
        }
    }
    let row = |name, values: Vec<Duration>| {
        let of = |share| quantile(&values, share).map_or(f64::NAN, |value| value.as_secs_f64() * 1_000.0);
        println!("| {name} | {:.1} ms | {:.1} ms | {:.1} ms |", of(0.5), of(0.99), of(1.0));
    };
    row("the first answer by the new limit", changes.iter().map(|change| change.first).collect());
    row("the last answer by the old limit", changes.iter().map(|change| change.last).collect());
    row("(longest time without any answer meanwhile)", changes.iter().map(|change| change.gap).collect());
    Ok(())
}
