//! Weighted backends.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use spillway_tests::load::Load;
use spillway_tests::wait;

use crate::narrator::{Narrator, thousands};
use crate::stage::{ROUTES, Stage};

const REQUESTS: usize = 2_000;
const OLD: (&str, &str) = ("{name: orders-v1, weight: 70}", "{name: orders-v2, weight: 30}");
const NEW: (&str, &str) = ("{name: orders-v1, weight: 0}", "{name: orders-v2, weight: 100}");

/// Requests of many tenants, so that no tenant's limit is in the way.
fn load(stage: &Stage) -> Load {
    Load::get(format!("{}/orders", stage.url)).header("x-tenant-id", "visitor-{n}")
}

/// 70 % and 30 %, within what chance allows.
pub(super) fn split(stage: &mut Stage, narrator: &Narrator) -> Result<()> {
    narrator.doing(&format!("{} requests, each of another tenant", thousands(REQUESTS)));
    let report = load(stage).requests(REQUESTS).run(&stage.client)?;
    let others = report.other_than(&[200]);
    ensure!(others.is_empty(), "not every request was served: {others:?}");
    let (first, second) = (report.served_by("orders-v1"), report.served_by("orders-v2"));
    // Binomial: the standard deviation of the first share is sqrt(2000 * 0.7 * 0.3) = 20.5 requests. Chance alone leaves
    // six of them once in 500 million demos.
    ensure!(
        first.abs_diff(REQUESTS * 70 / 100) <= 123,
        "orders-v1 served {first} and orders-v2 {second}, which is not 70/30"
    );
    ensure!(first + second == REQUESTS, "{first} and {second} are not all of {REQUESTS} requests");
    narrator.seen(&format!(
        "orders-v1 served {} ({}), orders-v2 {} ({})",
        thousands(first),
        percent(first),
        thousands(second),
        percent(second)
    ));
    Ok(())
}

/// 0 and 100, while requests are under way.
pub(super) fn shifted(stage: &mut Stage, narrator: &Narrator) -> Result<()> {
    let mut load =
        load(stage).concurrency(8).pause(Duration::from_millis(1)).requests(200_000).start(&stage.client)?;
    wait::until("both services under load", || {
        let records = load.since(0);
        ensure!(records.len() >= 500, "only {} answers", records.len());
        for name in ["orders-v1", "orders-v2"] {
            ensure!(records.iter().any(|record| record.upstream() == Some(name)), "none from {name}");
        }
        Ok(())
    })?;
    narrator.doing(&format!(
        "in {}: {} -> {}, {} -> {}",
        stage.documents.path(ROUTES).display(),
        OLD.0,
        NEW.0,
        OLD.1,
        NEW.1
    ));
    let written = Instant::now();
    stage.documents.edit(ROUTES, &[OLD.0, OLD.1], &[NEW.0, NEW.1])?;
    // The new weights are in force when a long row of requests went to the second service alone: with the old ones a row of 200 has
    // the probability 0.3^200.
    wait::until("orders-v2 alone to be asked", || {
        load.going_on()?;
        let records = load.since(0);
        let row = records.iter().rev().take_while(|record| record.upstream() != Some("orders-v1")).count();
        ensure!(row >= 200, "only {row} in a row");
        Ok(())
    })?;
    let report = load.finish()?;
    let others = report.other_than(&[200]);
    ensure!(others.is_empty(), "requests failed meanwhile: {others:?}");
    let last = report.records.iter().filter(|r| r.upstream() == Some("orders-v1")).map(|r| r.answered).max();
    let after = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(written));
    narrator.seen(&format!(
        "the last answer of orders-v1 came {:.0} ms after the write; {} requests, 0 failed",
        after.as_secs_f64() * 1_000.0,
        thousands(report.records.len())
    ));
    stage.documents.edit(ROUTES, &[NEW.0, NEW.1], &[OLD.0, OLD.1])?;
    narrator.doing("the weights are 70 and 30 again");
    Ok(())
}

fn percent(part: usize) -> String {
    let tenths = part * 1_000 / REQUESTS;
    format!("{}.{} %", tenths / 10, tenths % 10)
}
