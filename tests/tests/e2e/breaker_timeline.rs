//! A breaker's whole life, and its edits.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use spillway_tests::load::{Load, Record};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{TO_ALPHA, care, site};
use crate::world::World;

const RULE: &str = "circuit-breaker/care/health";
const OPEN_FOR: Duration = Duration::from_millis(600);
const LONGEST: Duration = Duration::from_secs(2);
const PROBES: usize = 3;

fn is_rejected(record: &Record) -> bool {
    record.outcome.as_ref().is_ok_and(|outcome| outcome.rejected_by.as_deref() == Some(RULE))
}

/// What was let through, in groups between which the breaker was open.
fn phases(mut records: Vec<Record>) -> Vec<Vec<Record>> {
    records.retain(|record| !is_rejected(record));
    records.sort_by_key(|record| record.sent);
    let mut phases: Vec<Vec<Record>> = Vec::new();
    for record in records {
        match phases.last_mut() {
            Some(phase) if phase.last().is_none_or(|last| record.sent - last.sent < OPEN_FOR / 2) => {
                phase.push(record);
            }
            _ => phases.push(vec![record]),
        }
    }
    phases
}

fn first(phase: &[Record]) -> Result<&Record> {
    phase.first().context("a phase without requests")
}

#[test]
fn each_failed_half_open_lengthens_the_next_wait_up_to_its_bound() -> Result<()> {
    Scene::play(|scene| {
        let policy = care(
            "circuitBreakers:\n  - name: health\n    key: [backend]\n    window: 10s\n    minRequests: 10\n    \
             trip: {errorRatio: 50%}\n    openFor: 600ms\n    backoff: {factor: 10, max: 2s}\n    probes: 3",
        );
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        let before = world.upstreams.requests("alpha")?;
        world.upstreams.answer_with("alpha", 500)?;
        let load =
            Load::get(world.url("/")).concurrency(8).pause(Duration::from_millis(5)).requests(1_000_000);
        let mut load = load.start(&world.client)?;
        // Closed, open, half-open, open for longer, half-open, open for no longer than that, half-open.
        wait::until("the third half-open", || {
            load.going_on()?;
            let seen = phases(load.since(0)).len();
            ensure!(seen >= 4, "{seen} phases");
            Ok(())
        })?;
        world.upstreams.answer_with("alpha", 200)?;
        wait::until("the breaker to close", || {
            load.going_on()?;
            let seen = load.since(0);
            let well = seen.iter().rev().take_while(|record| record.status() == Some(200)).count();
            ensure!(well >= 50, "{well} in a row");
            Ok(())
        })?;
        let report = load.finish()?;
        let passed = report.records.iter().filter(|record| !is_rejected(record)).count();
        let reached = world.upstreams.requests("alpha")? - before;
        assert_eq!(
            reached,
            u64::try_from(passed)?,
            "what was not rejected reached the upstream, and nothing else"
        );

        let phases = phases(report.records);
        let [closed, once, twice, thrice, ..] = phases.as_slice() else { bail!("{} phases", phases.len()) };
        assert!(closed.len() >= 10, "it tripped on {} requests", closed.len());
        for probes in [once, twice] {
            assert!(probes.len() <= PROBES, "{} probes", probes.len());
            assert!(probes.iter().all(|probe| probe.status() == Some(500)));
        }
        // It opened after the request that tripped it was sent, and probed before a probe was answered.
        let tripped = closed.get(9).context("less than ten")?.sent;
        let waited = first(once)?.answered - tripped;
        ensure!(waited >= OPEN_FOR, "open for {waited:?} only");
        for (probes, next) in [(once, twice), (twice, thrice)] {
            let waited = first(next)?.answered - first(probes)?.sent;
            ensure!(waited >= LONGEST, "open for {waited:?} only, after failed probes");
            // Without its bound the second wait would be six seconds, the third sixty.
            ensure!(waited < LONGEST * 2, "open for {waited:?}");
        }
        wait::until("the transitions' metrics", || {
            let count = |to: &str| {
                let name = format!("spillway_breaker.policy.care.rule.health.to.{to}");
                anyhow::Ok(world.envoy.stats(&name)?.values().sum::<u64>())
            };
            let (open, half_open, closed) = (count("open")?, count("half-open")?, count("closed")?);
            // One that fails before others are sent is enough to open it again.
            ensure!(
                open >= 3 && half_open == open && closed == 1,
                "{open} times open, {half_open} times half-open, {closed} times closed"
            );
            Ok(())
        })
    })
}

#[test]
fn an_open_breaker_stays_open_when_its_rule_is_edited() -> Result<()> {
    const BREAKER: &str = "circuitBreakers:\n  - name: health\n    window: 10s\n    minRequests: 5\n    \
                           trip: {errorCount: 5}\n    openFor: 1h\n    probes: 1\n    response: {body: first}";
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(BREAKER))])?;
        world.upstreams.answer_with("alpha", 500)?;
        wait::until("the breaker to open", || {
            let answer = world.get("/", &[])?;
            ensure!(answer.body == "first", "answered with {}", answer.status);
            Ok(())
        })?;
        world.upstreams.answer_with("alpha", 200)?;
        let before = world.upstreams.requests("alpha")?;
        let mut load = world.steady("/").start(&world.client)?;
        // Everything about it but its name: what trips it, how long, how often, and what it says.
        world.documents.edit(
            "policy.yaml",
            &["window: 10s", "minRequests: 5", "errorCount: 5", "openFor: 1h", "probes: 1", "body: first"],
            &["window: 5s", "minRequests: 50", "errorCount: 500", "openFor: 2h", "probes: 7", "body: second"],
        )?;
        wait::until("the edit", || {
            load.going_on()?;
            let answer = world.get("/", &[])?;
            ensure!(answer.body == "second", "answered with {}: {}", answer.status, answer.body);
            Ok(())
        })?;
        let report = load.finish()?;
        assert_eq!(report.other_than(&[503]), [].into());
        assert_eq!(
            world.upstreams.requests("alpha")?,
            before,
            "requests reached the upstream through an open breaker"
        );
        Ok(())
    })
}

#[test]
fn a_probe_is_one_attempt_where_the_route_retries() -> Result<()> {
    Scene::play(|scene| {
        let route = site("- {name: all, retry: {attempts: 2, codes: [500]}, backendRefs: [{name: alpha}]}");
        let policy = care(
            "circuitBreakers:\n  - {name: health, window: 10s, minRequests: 1, trip: {errorCount: 5}, \
             openFor: 1s, probes: 1}",
        );
        let world = World::start(scene, &[("routes.yaml", &route), ("policy.yaml", &policy)])?;
        world.upstreams.answer_with("alpha", 500)?;
        // One at a time: whatever reaches the upstream belongs to the request under way.
        let attempts = || {
            let before = world.upstreams.requests("alpha")?;
            let answer = world.get("/", &[])?;
            let rejected = answer.header("x-spillway-rejected-by") == Some(RULE);
            anyhow::Ok((rejected, world.upstreams.requests("alpha")? - before))
        };
        assert_eq!(attempts()?, (false, 3), "closed, a request is tried again");
        world.until("the breaker to be open on both workers", "/", |answer| {
            answer.header("x-spillway-rejected-by") == Some(RULE)
        })?;
        for _ in 0..2 {
            let attempts = wait::until("a probe", || {
                let (rejected, attempts) = attempts()?;
                ensure!(!rejected || attempts == 0, "a reject reached the upstream");
                ensure!(!rejected, "the breaker is open");
                Ok(attempts)
            })?;
            assert_eq!(attempts, 1, "attempts of a probe");
        }
        Ok(())
    })
}
