//! Rates from slow to fast, each overloaded for ten seconds over two workers.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use spillway_tests::load::{Load, Report};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{TO_ALPHA, care};
use crate::world::World;

const OVERLOAD: Duration = Duration::from_secs(10);

/// Offers more than `rate` tokens a second and compares what was admitted with what was due. Each request takes the first of `costs`; where the machine can't send so many
/// requests that this is an overload, the next.
fn is_exact(rate: u32, costs: &[u32], senders: usize, pause: u64) -> Result<()> {
    Scene::play(|scene| {
        // A burst of one second bridges moments in which the machine stands still.
        let policy = care(&format!(
            "rateLimits: [{{name: total, rate: {rate}/s, burst: {rate}, cost: {{header: x-cost, max: {rate}}}}}]"
        ));
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        for cost in costs {
            let load = Load::get(world.url("/")).header("x-cost", &cost.to_string()).concurrency(senders);
            let started = Instant::now();
            let load = load.pause(Duration::from_millis(pause)).requests(1_000_000);
            let mut load = load.start(&world.client)?;
            wait::until("ten seconds of overload", || {
                load.going_on()?;
                ensure!(started.elapsed() >= OVERLOAD);
                Ok(())
            })?;
            let report = load.finish()?;
            assert_eq!(report.other_than(&[200, 429]), [].into());
            if report.count(429) > report.count(200) / 10 {
                return compare(&report, f64::from(rate), f64::from(*cost));
            }
            // In a second the bucket is full again.
            thread::sleep(Duration::from_millis(1_100));
        }
        bail!("this machine can't overload the limit")
    })
}

fn compare(report: &Report, rate: f64, cost: f64) -> Result<()> {
    let tokens = f64::from(u32::try_from(report.count(200))?) * cost;
    // What can never be exceeded: the bucket, full at most, and what flowed in. Leased tokens have left the bucket, which may fill up behind them: two workers
    // hold at most a hundredth of the burst each.
    let most = rate + rate * report.elapsed().as_secs_f64() + rate * 0.02 + cost;
    assert!(tokens <= most, "{tokens} tokens were spent, {most:.0} are allowed in {:?}", report.elapsed());
    assert!(tokens <= (most - rate * 0.02) * 1.01, "{tokens} tokens are more than a percent too many");
    // What was due: from the first answer on, the bucket was not full.
    let first = report.records.iter().map(|record| record.answered).min().context("no answer")?;
    let last = report.records.iter().map(|record| record.sent).max().context("no request")?;
    let due = rate + rate * last.saturating_duration_since(first).as_secs_f64();
    assert!(
        tokens >= due * 0.99 - 2.0 * cost,
        "{tokens} tokens were spent, {due:.0} were due in {:?}; {} requests were rejected",
        report.elapsed(),
        report.count(429)
    );
    Ok(())
}

#[test]
fn a_hundred_a_second() -> Result<()> {
    is_exact(100, &[1], 8, 20)
}

#[test]
fn a_thousand_a_second() -> Result<()> {
    is_exact(1_000, &[1, 10], 32, 10)
}

/// A small machine that runs Envoy, upstream and client can't send so many requests, so each takes twenty tokens.
#[test]
fn twenty_thousand_tokens_a_second() -> Result<()> {
    is_exact(20_000, &[20, 200], 32, 10)
}
