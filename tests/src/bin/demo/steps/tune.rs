//! A limit that changes while traffic flows.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use spillway_tests::load::{Load, Record};
use spillway_tests::wait;

use crate::narrator::{Narrator, thousands};
use crate::stage::{PROTECTION, Stage};

/// Admissions within [`CLOSE`] of each other that 10 a second cannot explain, once the bucket is empty.
const ROW: usize = 10;
const CLOSE: Duration = Duration::from_millis(200);

/// From 10 to 1,000 a second.
pub(super) fn edited(stage: &mut Stage, narrator: &Narrator) -> Result<()> {
    let url = format!("{}/orders/globex/7", stage.url);
    let mut load = Load::get(&url).concurrency(4).requests(400_000).start(&stage.client)?;
    wait::until("the bucket to be empty", || {
        let recent = load.since(load.answers().saturating_sub(50));
        ensure!(recent.iter().filter(|record| record.status() == Some(429)).count() >= 45);
        Ok(())
    })?;
    narrator.doing(&format!("in {}: rate: 10/s -> rate: 1000/s", stage.documents.path(PROTECTION).display()));
    let before = load.answers();
    let written = Instant::now();
    stage.documents.edit(PROTECTION, &["      rate: 10/s\n"], &["      rate: 1000/s\n"])?;
    let enforced = wait::until("the new limit", || {
        load.going_on()?;
        row(&load.since(before)).context("the old limit still rules")
    })?;
    let report = load.finish()?;
    let others = report.other_than(&[200, 429]);
    ensure!(others.is_empty(), "answers other than 200 and 429: {others:?}");
    narrator.seen(&format!(
        "{ROW} requests admitted in a row {:.0} ms after the write; {} requests, 0 failed",
        enforced.saturating_duration_since(written).as_secs_f64() * 1_000.0,
        thousands(report.records.len())
    ));
    stage.documents.edit(PROTECTION, &["      rate: 1000/s\n"], &["      rate: 10/s\n"])?;
    narrator.doing("the limit is 10 a second again");
    Ok(())
}

/// When the first row of admissions ended that the old limit cannot explain.
fn row(records: &[Record]) -> Option<Instant> {
    let admitted: Vec<_> = records.iter().filter(|r| r.status() == Some(200)).map(|r| r.answered).collect();
    admitted.windows(ROW).find_map(|row| {
        let (first, last) = (row.first()?, row.last()?);
        (last.saturating_duration_since(*first) <= CLOSE).then_some(*last)
    })
}
