//! A new endpoint warms up.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use spillway_tests::load::Report;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::Pool;

const WINDOW: Duration = Duration::from_secs(4);

/// What e2 answered of what was answered in this time after its first answer.
fn share(report: &Report, from: Duration, to: Duration) -> Result<f64> {
    let by = |name: &'static str| report.records.iter().filter(move |record| record.upstream() == Some(name));
    let first: Instant = by("e2").map(|record| record.answered).min().context("e2 answered nothing")?;
    let within = |name| by(name).filter(|r| (first + from..first + to).contains(&r.answered)).count();
    let (one, two) = (within("e1"), within("e2"));
    ensure!(one + two >= 50, "only {one} and {two} answers: too few to tell");
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    Ok(two as f64 / (one + two) as f64)
}

/// The share of a second endpoint in its first second, and once it is no longer new.
fn shares(balancing: &str) -> Result<(f64, f64)> {
    let mut found = None;
    Scene::play(|scene| {
        let backend = format!(", loadBalancing: {{{balancing}}}");
        let pool = Pool::start(scene, &["e1", "e2"], "", ", loadBalancing: {policy: Random}")?;
        pool.set(&[("e1", "")], &backend)?;
        pool.world.until("e1 alone", "/", |answer| answer.header("x-upstream") == Some("e1"))?;
        // The first endpoint is no longer new when the second one comes: two new ones would share alike.
        thread::sleep(WINDOW);
        let load = pool.world.steady("/").start(&pool.world.client)?;
        pool.set(&[("e1", ""), ("e2", "")], &backend)?;
        let before = pool.upstreams.requests("e2")?;
        wait::until("the second endpoint", || {
            ensure!(pool.upstreams.requests("e2")? > before);
            Ok(())
        })?;
        thread::sleep(WINDOW + Duration::from_secs(2));
        let report = load.finish()?;
        let others = report.other_than(&[200]);
        ensure!(others.is_empty(), "{others:?}");
        let second = Duration::from_secs(1);
        found =
            Some((share(&report, Duration::ZERO, second)?, share(&report, WINDOW + second, 10 * WINDOW)?));
        Ok(())
    })?;
    found.context("no shares")
}

#[test]
fn a_new_endpoint_begins_with_a_part_of_its_share() -> Result<()> {
    let (first, later) = shares("policy: RoundRobin, slowStart: 4s")?;
    println!("with slow start {first:.2} at first, {later:.2} later");
    // From a tenth to a quarter of the other's weight in the first second: a tenth to a fifth of the requests.
    ensure!(first < 0.4, "{first:.2} of the requests in the first second");
    ensure!((later - 0.5).abs() < 0.1, "{later:.2} of the requests in the end");
    Ok(())
}
