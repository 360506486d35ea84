//! How rules stand, as Prometheus reads it: breakers, places in flight, shares in use, who is shed. And that traffic makes no metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{TO_ALPHA, document};
use crate::world::World;

/// What is said about names must hold for rules that are called like labels.
const POLICY: &str = "\
targetRefs: [{kind: Route, name: site}]
rateLimits:
- {name: kind, key: [{header: x-user}], rate: 1/m, burst: 1, when: [{headers: [{name: x-limited, value: please}]}]}
circuitBreakers:
- {name: rule, key: [{header: x-user}], window: 10s, minRequests: 5, trip: {errorRatio: 50%}, openFor: 1s, probes: 1}
concurrency:
- {name: to, max: 4}
priority: {from: [{header: x-priority}], default: normal, levels: [normal, low]}
degrade:
- {name: state, when: {saturation: 60%}, shed: [low]}
";

/// How many breakers are in a state.
const STATE: &str = "spillway_breaker_state";

/// Labels and values of the samples of one metric.
type Samples = Vec<(BTreeMap<String, String>, u64)>;

fn samples(text: &str, metric: &str) -> Result<Samples> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    lines
        .map(|line| {
            let (labels, value) = line.split_once('}').context("labels without an end")?;
            let label = |pair: &str| {
                let (name, value) = pair.split_once('=')?;
                Some((name.to_owned(), value.trim_matches('"').to_owned()))
            };
            Ok((labels.split(',').filter_map(label).collect(), value.trim().parse()?))
        })
        .collect()
}

/// The only sample of a metric with these labels.
fn value(world: &World, metric: &str, labels: &[(&str, &str)]) -> Result<u64> {
    let text = world.envoy.prometheus()?;
    let wanted = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let wanted: BTreeMap<_, _> = wanted.chain([("policy".to_owned(), "level".to_owned())]).collect();
    let samples = samples(&text, metric)?;
    let mut found = samples.iter().filter(|(labels, _)| *labels == wanted).map(|(_, value)| *value);
    let value = found.next().with_context(|| format!("no {metric}{wanted:?} in {samples:?}"))?;
    ensure!(found.next().is_none(), "{metric}{wanted:?} is there twice");
    Ok(value)
}

fn until(world: &World, metric: &str, labels: &[(&str, &str)], expected: u64) -> Result<()> {
    wait::until(metric, || {
        let value = value(world, metric, labels)?;
        ensure!(value == expected, "{metric}{labels:?} is {value}, not {expected}");
        Ok(())
    })
}

fn start(scene: &Scene) -> Result<World> {
    let policy = document("TrafficPolicy", "level", POLICY);
    World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])
}

#[test]
fn requests_in_flight_their_share_and_who_is_shed_are_shown() -> Result<()> {
    let pool = [("rule", "to")];
    Scene::play(|scene| {
        let world = start(scene)?;
        until(&world, "spillway_concurrency_limit", &pool, 4)?;
        until(&world, "spillway_in_flight", &pool, 0)?;
        until(&world, "spillway_degrade_in_force", &[("rule", "state")], 0)?;

        // Connections of their own, so that both workers have some.
        world.upstreams.answer_slowly("alpha", 200, 1_000)?;
        let load = Load::get(world.url("/")).concurrency(3).requests(100_000);
        let mut load = load.start(&world.client.reconnected()?)?;
        until(&world, "spillway_in_flight", &pool, 3)?;
        until(&world, "spillway_degrade_in_force", &[("rule", "state")], 1)?;
        let shed = world.get("/", &[("x-priority", "low")])?;
        assert_eq!(shed.header("x-spillway-rejected-by"), Some("degrade/level/state"));
        load.going_on()?;
        let percent = value(&world, "spillway_saturation_percent", &pool)?;
        ensure!((75..=100).contains(&percent), "{percent} % in use");
        load.finish()?;

        until(&world, "spillway_in_flight", &pool, 0)?;
        until(&world, "spillway_shed", &[("rule", "state"), ("level", "low")], 1)?;
        until(&world, "spillway_saturation_percent", &pool, 0)?;
        until(&world, "spillway_degrade_in_force", &[("rule", "state")], 0)
    })
}

#[test]
fn breakers_are_counted_by_state() -> Result<()> {
    const OPEN: [(&str, &str); 2] = [("rule", "rule"), ("state", "open")];
    const HALF_OPEN: [(&str, &str); 2] = [("rule", "rule"), ("state", "half-open")];
    Scene::play(|scene| {
        let world = start(scene)?;
        until(&world, STATE, &OPEN, 0)?;
        world.upstreams.answer_with("alpha", 500)?;
        for user in ["ann", "bob", "eve"] {
            wait::until("the breaker to open", || {
                let answer = world.get("/", &[("x-user", user), ("connection", "close")])?;
                ensure!(answer.header("x-spillway-rejected-by") == Some("circuit-breaker/level/rule"));
                Ok(())
            })?;
        }
        // Nobody probes them.
        until(&world, STATE, &OPEN, 3)?;
        until(&world, STATE, &HALF_OPEN, 0)?;

        // One is probed for long.
        world.upstreams.answer_slowly("alpha", 200, 6_000)?;
        let probe = Load::get(world.url("/")).header("x-user", "ann").concurrency(1).requests(100_000);
        let probe = probe.pause(Duration::from_millis(50)).start(&world.client.reconnected()?)?;
        wait::until("one of three to be probed", || {
            let now = (value(&world, STATE, &HALF_OPEN)?, value(&world, STATE, &OPEN)?);
            ensure!(now == (1, 2), "half-open and open: {now:?}");
            Ok(())
        })?;
        world.upstreams.answer_with("alpha", 200)?;
        until(&world, STATE, &HALF_OPEN, 0)?;
        probe.finish()?;
        for user in ["bob", "eve"] {
            wait::until("the breaker to close", || {
                let answer = world.get("/", &[("x-user", user)])?;
                ensure!(answer.status == 200, "{}", answer.status);
                Ok(())
            })?;
        }
        until(&world, STATE, &OPEN, 0)?;

        // The rule goes, and what it has shown with it.
        world.upstreams.answer_with("alpha", 500)?;
        wait::until("the breaker to open again", || {
            let answer = world.get("/", &[("x-user", "bob"), ("connection", "close")])?;
            ensure!(answer.header("x-spillway-rejected-by") == Some("circuit-breaker/level/rule"));
            Ok(())
        })?;
        until(&world, STATE, &OPEN, 1)?;
        let other = "targetRefs: [{kind: Route, name: site}]\nrateLimits: [{name: other, rate: 1000/s}]";
        let policy = document("TrafficPolicy", "level", other);
        world.documents.write("policy.yaml", &policy)?;
        until(&world, STATE, &OPEN, 0)
    })
}

/// What the filter counts and shows, by name and labels.
fn series(world: &World) -> Result<BTreeSet<String>> {
    let text = world.envoy.prometheus()?;
    let lines = text.lines().filter(|line| line.starts_with("spillway_"));
    Ok(lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect())
}

#[test]
fn documents_make_so_many_metrics_and_no_more() -> Result<()> {
    const MOST: usize = 4_096;
    // Six for each.
    const BREAKERS: usize = 800;
    Scene::play(|scene| {
        let rule = |number: usize| {
            format!(
                "- {{name: b{number}, window: 10s, minRequests: 5, trip: {{errorRatio: 50%}}, openFor: 1s, probes: 1}}\n"
            )
        };
        let rules = (0..BREAKERS).map(rule).collect::<Vec<_>>().concat();
        let spec = format!("targetRefs: [{{kind: Route, name: site}}]\ncircuitBreakers:\n{rules}");
        let policy = document("TrafficPolicy", "level", &spec);
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        assert_eq!(series(&world)?.len(), MOST + 1, "and the requests");
        // Each breaker is none the worse.
        world.upstreams.answer_with("alpha", 500)?;
        wait::until("the breakers to open", || {
            let answer = world.get("/", &[])?;
            ensure!(answer.header("x-spillway-rejected-by").is_some_and(|by| by.contains("/level/b")));
            Ok(())
        })?;
        assert_eq!(series(&world)?.len(), MOST + 1);
        Ok(())
    })
}

#[test]
fn traffic_makes_no_metrics() -> Result<()> {
    const USERS: usize = 300;
    Scene::play(|scene| {
        let world = start(scene)?;
        let before = series(&world)?;
        let counted = |metric: &str| -> Result<u64> { Ok(world.envoy.stats(metric)?.values().sum()) };
        let ask = |number: usize, headers: &[(&str, &str)]| {
            let user = format!("user.{number}.rule.{number}");
            let own = [("x-user", &*user), ("x-route-key", &*user)];
            world.get(&format!("/{user}?{number}"), &[&own, headers].concat()).map(drop)
        };
        // Each of them is limited.
        for number in 0..2 * USERS {
            let level = format!("level.{number}");
            ask(number / 2, &[("x-limited", "please"), ("x-priority", &level)])?;
        }
        // Some get breakers that open, others are shed.
        world.upstreams.answer_with("alpha", 500)?;
        for number in 0..120 {
            ask(USERS + number / 6, &[])?;
        }
        world.upstreams.answer_slowly("alpha", 200, 1_000)?;
        let load = Load::get(world.url("/")).concurrency(3).requests(100_000);
        let load = load.start(&world.client.reconnected()?)?;
        until(&world, "spillway_degrade_in_force", &[("rule", "state")], 1)?;
        for number in 0..USERS {
            ask(2 * USERS + number, &[("x-priority", "low")])?;
        }
        load.finish()?;
        wait::until("all of them to be counted", || {
            let kinds = [
                ("spillway_requests", 3 * USERS + 120),
                ("spillway_rejected.kind.rate-limit", USERS),
                ("spillway_breaker.policy.level.rule.rule.to.open", 10),
                ("spillway_shed", USERS / 2),
            ];
            for (metric, least) in kinds {
                let count = counted(metric)?;
                ensure!(count >= least as u64, "{metric}: {count} of {least}");
            }
            Ok(())
        })?;
        assert_eq!(series(&world)?, before);
        ensure!(before.len() > 15, "{before:?}");
        Ok(())
    })
}
