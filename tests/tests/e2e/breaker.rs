//! Circuit breakers.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use spillway_tests::load::{Load, Record, Report};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{care, site};
use crate::world::World;

const RULE: &str = "circuit-breaker/care/failing";
const PROBES: usize = 4;
/// Probes take so long that others can be seen to be turned away meanwhile.
const PROBE: Duration = Duration::from_millis(800);

/// Everything to alpha and what is below `/beta` to beta, with a breaker for each.
fn documents() -> String {
    let rules = "- {name: beta, matches: [{path: {type: PathPrefix, value: /beta}}], backendRefs: [{name: beta}]}\n\
                 - {name: all, backendRefs: [{name: alpha}]}";
    let breaker = "circuitBreakers:\n\
                   - {name: failing, key: [backend], window: 10s, minRequests: 20, trip: {errorRatio: 50%}, openFor: 1s, probes: 4}";
    format!("{}---\n{}", site(rules), care(breaker))
}

fn is_rejected(record: &Record) -> bool {
    record
        .outcome
        .as_ref()
        .is_ok_and(|outcome| outcome.status == 503 && outcome.rejected_by.as_deref() == Some(RULE))
}

/// Requests one after another until the breaker rejects one.
fn trip(world: &World) -> Result<()> {
    for _ in 0..200 {
        let answer = world.get("/", &[])?;
        if answer.header("x-spillway-rejected-by") == Some(RULE) {
            assert_eq!(answer.status, 503);
            assert!(answer.header("retry-after").is_some(), "no retry-after on a breaker's reject");
            return Ok(());
        }
    }
    bail!("200 failures did not open the breaker")
}

/// Load from now until well after the first probe: what was let through while none of the probes had been answered.
fn probes(world: &World) -> Result<(Vec<Record>, Report)> {
    let load = Load::get(world.url("/")).concurrency(32).pause(Duration::from_millis(5)).requests(200_000);
    let mut load = load.start(&world.client)?;
    wait::until("the probes' answers", || {
        load.going_on()?;
        let answered = load.since(0).iter().filter(|record| !is_rejected(record)).count();
        ensure!(answered >= PROBES, "{answered} answers");
        Ok(())
    })?;
    let report = load.finish()?;
    let passed = || report.records.iter().filter(|record| !is_rejected(record));
    let Some(answered) = passed().map(|record| record.answered).min() else {
        bail!("nothing was let through")
    };
    // A request that was sent a moment before the first answer may have been decided after the last one.
    let Some(certain) = answered.checked_sub(PROBE / 4) else { bail!("time before the beginning") };
    let probes = passed().filter(|record| record.sent < certain).cloned().collect();
    Ok((probes, report))
}

#[test]
fn a_breaker_opens_probes_with_exactly_as_many_and_closes() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("documents.yaml", &documents())])?;
        world.upstreams.answer_with("alpha", 500)?;
        trip(&world)?;

        // Open: nothing reaches the upstream, over whichever worker it comes; and the other Backend is none of this breaker's business.
        let before = world.upstreams.requests("alpha")?;
        let report =
            Load::get(world.url("/")).concurrency(16).requests(200).run(&world.client.reconnected()?)?;
        let rejected = report.records.iter().filter(|record| is_rejected(record)).count();
        let reached = world.upstreams.requests("alpha")? - before;
        // A machine that stands still for the whole second meets the half-open breaker here; then there are probes, and not more.
        ensure!(
            rejected + usize::try_from(reached)? == 200 && reached <= 4,
            "{rejected} rejected, {reached} reached"
        );
        assert_eq!(world.get("/beta", &[])?.status, 200);

        // Half-open, and the probes fail: open again.
        let probe = u64::try_from(PROBE.as_millis())?;
        world.upstreams.answer_slowly("alpha", 500, probe)?;
        let (failed, report) = probes(&world)?;
        assert_eq!(failed.len(), PROBES, "requests let through half-open");
        assert!(failed.iter().all(|record| record.status() == Some(500)));
        ensure!(
            report.records.iter().filter(|record| is_rejected(record)).count() > PROBES,
            "nobody was turned away"
        );
        assert_eq!(
            world.get("/", &[])?.header("x-spillway-rejected-by"),
            Some(RULE),
            "failed probes close nothing"
        );

        // Half-open, and the probes succeed: closed.
        world.upstreams.answer_slowly("alpha", 200, probe)?;
        let (succeeded, _) = probes(&world)?;
        assert_eq!(succeeded.len(), PROBES, "requests let through half-open");
        assert!(succeeded.iter().all(|record| record.status() == Some(200)));
        world.upstreams.answer_with("alpha", 200)?;
        world.until("the breaker to close", "/", |answer| answer.status == 200)?;
        let report = Load::get(world.url("/")).requests(300).run(&world.client)?;
        assert_eq!(report.other_than(&[200]), [].into());
        Ok(())
    })
}

#[test]
fn connections_that_break_count_as_failures() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("documents.yaml", &documents())])?;
        world.upstreams.reset_connections("alpha")?;
        trip(&world)
    })
}
