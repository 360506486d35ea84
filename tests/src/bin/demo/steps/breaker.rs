//! The circuit breaker.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use spillway_tests::load::{Load, Record};
use spillway_tests::wait;

use crate::narrator::Narrator;
use crate::stage::Stage;

const RULE: &str = "circuit-breaker/payments-protection/failing";
/// What demo/documents/protection.yaml says.
const PROBES: usize = 3;
/// How long a probe takes: long enough to see what happens to other requests meanwhile.
const PROBE_MILLIS: u64 = 600;

/// Closed, open, half-open, closed.
pub(super) fn cycle(stage: &mut Stage, narrator: &Narrator) -> Result<()> {
    let url = format!("{}/payments", stage.url);
    let answer = stage.client.get(&url, &[])?;
    ensure!(answer.status == 200, "the healthy service was answered for with {}", answer.status);

    stage.upstreams.answer_with("payments", 500)?;
    narrator.doing("the service payments answers everything with 500 from now on");
    let (failures, opened) = open(stage, &url)?;
    narrator.seen(&format!("open after {failures} failures: 503 by {RULE}"));

    let before = stage.upstreams.requests("payments")?;
    let report = Load::get(&url).requests(200).run(&stage.client)?;
    let reached = stage.upstreams.requests("payments")? - before;
    let rejected = report.records.iter().filter(|record| rejected(record)).count();
    ensure!(reached == 0 && rejected == 200, "while open, {reached} of 200 requests reached the service");
    narrator.seen("200 requests while open: 0 reached the service");

    stage.upstreams.answer_slowly("payments", 200, PROBE_MILLIS)?;
    narrator.doing(&format!(
        "the service is well again, if slow ({PROBE_MILLIS} ms); requests go on at 16 a time"
    ));
    let report = half_open(stage, &url)?;
    let (waited, probes, turned_away) = report.judge(opened)?;
    ensure!(probes == PROBES, "{probes} requests were let through half-open, not {PROBES}");
    ensure!(
        turned_away > 0,
        "no request was rejected while the probes were under way, so half-open was not seen"
    );
    narrator.seen(&format!(
        "half-open {:.1} s after it opened: exactly {probes} probes let through, {turned_away} other requests rejected",
        waited.as_secs_f64()
    ));

    stage.upstreams.answer_with("payments", 200)?;
    let report = Load::get(&url).requests(200).run(&stage.client)?;
    ensure!(
        report.count(200) == 200,
        "not everything passes after the probes: {:?}",
        report.other_than(&[200])
    );
    narrator.seen("closed: 200 of 200 requests served");

    let named = wait::until("Envoy's statistics", || {
        let transitions =
            stage.envoy.stats("spillway_breaker.policy.payments-protection.rule.failing.to.")?;
        ensure!(transitions.len() == 3, "these transitions are counted: {transitions:?}");
        Ok(transitions
            .iter()
            .map(|(name, count)| format!("{} {count}", name.rsplit('.').next().unwrap_or_default()))
            .collect::<Vec<_>>())
    })?;
    narrator.seen(&format!("Envoy's statistics count the transitions: {}", named.join(", ")));
    Ok(())
}

fn rejected(record: &Record) -> bool {
    record
        .outcome
        .as_ref()
        .is_ok_and(|outcome| outcome.status == 503 && outcome.rejected_by.as_deref() == Some(RULE))
}

/// Requests one after another until the breaker rejects one: how many failed before, and when it was.
fn open(stage: &Stage, url: &str) -> Result<(usize, Instant)> {
    for failures in 0..200 {
        let answer = stage.client.get(url, &[])?;
        match answer.status {
            500 => {}
            503 if answer.header("x-spillway-rejected-by") == Some(RULE) => {
                return Ok((failures, Instant::now()));
            }
            other => {
                anyhow::bail!("an answer with {other}, which is neither the service's nor the breaker's")
            }
        }
    }
    anyhow::bail!("200 failures did not open the breaker")
}

/// What was seen around half-open.
struct HalfOpen {
    records: Vec<Record>,
}

/// Load until the breaker lets everything through.
fn half_open(stage: &Stage, url: &str) -> Result<HalfOpen> {
    let load = Load::get(url)
        .concurrency(16)
        .pause(Duration::from_millis(10))
        .requests(20_000)
        .start(&stage.client)?;
    wait::until("the breaker to close", || {
        let records = load.since(0);
        let served = records.iter().filter(|record| record.status() == Some(200)).count();
        ensure!(served > PROBES, "{served} requests were served");
        Ok(())
    })?;
    Ok(HalfOpen { records: load.finish()?.records })
}

impl HalfOpen {
    /// How long the breaker was open, how many probes there were, and how many requests were rejected beside them.
    fn judge(&self, opened: Instant) -> Result<(Duration, usize, usize)> {
        let first = self.records.iter().filter(|r| r.status() == Some(200)).map(|r| r.sent).min();
        let first = first.context("no request was served")?;
        // The breaker closes with the last probe's answer, which comes no sooner than this after the first probe was sent.
        let end = first + Duration::from_millis(PROBE_MILLIS);
        let meanwhile = || self.records.iter().filter(move |record| (first..end).contains(&record.sent));
        // A request that was under way as the breaker closed might have been sent just before: those of the last moment say nothing.
        let certain =
            end.checked_sub(Duration::from_millis(PROBE_MILLIS / 3)).context("time before the beginning")?;
        let probes =
            meanwhile().filter(|record| record.status() == Some(200) && record.sent < certain).count();
        let rejected = meanwhile().filter(|record| rejected(record)).count();
        Ok((first.saturating_duration_since(opened), probes, rejected))
    }
}
