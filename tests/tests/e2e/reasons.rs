//! One decision, and everywhere it is told: response header, response code details, access log and metrics.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spillway_tests::client::Answer;
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{document, guarded, site};
use crate::world::World;

/// Kind, its field, a rule that rejects sooner or later where the upstream is slow and fails, and the status.
const RULES: [(&str, &str, &str, u64); 4] = [
    ("rate-limit", "rateLimits", "rate: 1/h, burst: 1", 429),
    (
        "circuit-breaker",
        "circuitBreakers",
        "window: 1m, minRequests: 1, trip: {errorCount: 1}, openFor: 1h, probes: 1",
        503,
    ),
    ("concurrency", "concurrency", "max: 1", 503),
    ("degrade", "degrade", "when: {errors: 1%}, only: [{method: GET}]", 503),
];

fn is_rejected(answer: &Answer, by: &str) -> bool {
    answer.header("x-spillway-rejected-by") == Some(by)
}

/// The line of the access log about the request with this path.
fn logged(world: &mut World, path: &str) -> Result<Value> {
    let lines = world.envoy.process().output();
    let line = lines.lines().find(|line| line.starts_with('{') && line.contains(&format!("{path}\"")));
    serde_json::from_str(line.with_context(|| format!("no line about {path}"))?).context("a line is JSON")
}

#[test]
fn a_decision_is_told_everywhere_in_the_same_words() -> Result<()> {
    Scene::play(|scene| {
        let (mut rules, mut policies) = (String::new(), String::new());
        for (kind, field, rule, _) in RULES {
            for mode in ["enforce", "shadow"] {
                let limits = format!("{field}: [{{name: rule, {rule}, mode: {mode}}}]");
                let (rule, policy) = guarded(&format!("{kind}-{mode}"), &limits);
                rules += &rule;
                policies += &policy;
            }
        }
        rules += "- {name: all, backendRefs: [{name: beta}]}";
        let keys = document(
            "TrafficPolicy",
            "keys",
            "targetRefs: [{kind: Gateway, name: edge}]\nrouteKey: [{header: x-user}]",
        );
        let files = [("routes.yaml", &*site(&rules)), ("policies.yaml", &format!("{keys}{policies}"))];
        let mut world = World::start(scene, &files)?;
        world.documents.edit("base.yaml", &["protocol: HTTP}"], &["protocol: HTTP, accessLog: true}"])?;
        let user = [("x-user", "ann")];
        let mut tries = 0;
        wait::until("the listener to write a log", || {
            tries += 1;
            let path = format!("/first/{tries}");
            // Connections from before the edit stay without.
            world.client = world.client.reconnected()?;
            world.get(&path, &user)?;
            wait::until_within(Duration::from_millis(500), "its line", || logged(&mut world, &path))
        })?;

        // Nobody had anything to say about this one.
        world.get("/plain", &user)?;
        let line = wait::until("the line of an admitted request", || logged(&mut world, "/plain"))?;
        let fields = ["status", "route", "route_key", "decision", "response_code_details", "backend"];
        let told = |line: &Value| json!(fields.map(|field| line[field].clone()));
        assert_eq!(told(&line), json!([200, "site/all", "ann", null, "via_upstream", "beta"]));

        world.upstreams.answer_slowly("alpha", 500, 50)?;
        for (kind, _, _, status) in RULES {
            for mode in ["enforce", "shadow"] {
                let name = format!("{kind}-{mode}");
                let by = format!("{kind}/{name}/rule");
                let counted = if mode == "enforce" { "spillway_rejected" } else { "spillway_shadowed" };
                let metric = format!("{counted}.kind.{kind}.policy.{name}.rule.rule");
                // Others, all at once, until the rule has something to say.
                wait::until(&name, || {
                    let others = Load::get(world.url(&format!("/{name}/others"))).header("x-user", "bob");
                    others.concurrency(8).requests(40).run(&world.client)?;
                    let said: u64 = world.envoy.stats(&metric)?.values().sum();
                    ensure!(said > 0, "{name} has said nothing");
                    Ok(())
                })?;
                // Then one that we know, beside others where they are what it is about.
                let mut tries = 0;
                let line = wait::until(&by, || {
                    tries += 1;
                    let path = format!("/{name}/{tries}");
                    let others = Load::get(world.url(&format!("/{name}/others"))).concurrency(8).requests(16);
                    let others = others.start(&world.client)?;
                    let answer = world.get(&path, &user)?;
                    others.wait()?;
                    ensure!(is_rejected(&answer, &by) || mode == "shadow", "{path}: {}", answer.status);
                    let line = wait::until("its line", || logged(&mut world, &path))?;
                    ensure!(line["decision"] == by, "{line}");
                    Ok(line)
                })?;
                let details = format!("spillway_{}", kind.replace('-', "_"));
                let expected = if mode == "enforce" {
                    json!([status, format!("site/{name}"), "ann", by, details, "alpha"])
                } else {
                    json!([500, format!("site/{name}"), "ann", by, "via_upstream", "alpha"])
                };
                assert_eq!(told(&line), expected);
            }
        }
        Ok(())
    })
}
