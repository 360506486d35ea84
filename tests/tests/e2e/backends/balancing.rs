//! Zones, and the policies that don't look at the request.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use spillway_tests::client::Answer;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::Pool;

#[test]
fn a_proxy_prefers_its_own_zone_and_turns_to_others_when_that_fails() -> Result<()> {
    Scene::play(|scene| {
        let backend = ", loadBalancing: {zoneAware: true}, \
                       healthCheck: {http: {path: /}, interval: 100ms, timeout: 1s, unhealthyAfter: 2, healthyAfter: 1}";
        let pool = Pool::start_with(scene, &["a1", "a2", "b1"], "", ", loadBalancing: {}", &["--zone", "a"])?;
        let zones = [("a1", ", zone: a"), ("a2", ", zone: a"), ("b1", ", zone: b")];
        pool.set(&zones, backend)?;
        let by = |names: &'static [&'static str]| {
            move |answer: &Answer| {
                answer.status == 200 && answer.header("x-upstream").is_some_and(|name| names.contains(&name))
            }
        };
        pool.world.until("zone a alone", "/", by(&["a1", "a2"]))?;
        // What drains does not count for the health of its zone.
        pool.set(&[("a1", ", zone: a"), ("a2", ", zone: a, weight: 0"), ("b1", ", zone: b")], backend)?;
        pool.world.until("a1 alone", "/", by(&["a1"]))?;
        pool.set(&zones, backend)?;
        pool.world.until("zone a alone again", "/", by(&["a1", "a2"]))?;
        pool.upstreams.answer_with("a1", 500)?;
        pool.upstreams.answer_with("a2", 500)?;
        pool.world.until("zone b", "/", by(&["b1"]))?;
        pool.upstreams.answer_with("a1", 200)?;
        pool.upstreams.answer_with("a2", 200)?;
        pool.world.until("zone a once it is well", "/", by(&["a1", "a2"]))
    })
}

#[test]
fn every_policy_serves_all_endpoints_and_an_edit_of_it_drops_nothing() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1", "e2", "e3", "e4"], "", "")?;
        let endpoints = [("e1", ""), ("e2", ""), ("e3", ""), ("e4", "")];
        let load = pool.world.steady("/").start(&pool.world.client)?;
        for (policy, name) in [
            ("policy: LeastRequest, slowStart: 1s", "LEAST_REQUEST"),
            ("policy: Random", "RANDOM"),
            ("policy: RingHash", "RING_HASH"),
            ("policy: Maglev", "MAGLEV"),
            ("policy: RoundRobin, slowStart: 1s", ""),
        ] {
            pool.set(&endpoints, &format!(", loadBalancing: {{{policy}}}"))?;
            wait::until(policy, || {
                let dump = pool.world.envoy.config_dump()?.to_string();
                ensure!(name.is_empty() != dump.contains("\"lb_policy\":") && dump.contains(name));
                let seen = (0..40).map(|i| pool.answers(&i.to_string())).collect::<Result<BTreeSet<_>>>()?;
                ensure!(seen.len() == 4, "{seen:?}");
                Ok(())
            })?;
        }
        load.unharmed()?;
        Ok(())
    })
}

#[test]
fn what_is_over_a_pools_bound_is_answered_at_once() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(
            scene,
            &["e1"],
            "",
            ", connectionPool: {maxRequests: 2, maxPendingRequests: 1, connectTimeout: 2s}",
        )?;
        pool.upstreams.answer_slowly("e1", 200, 100)?;
        let report = spillway_tests::load::Load::get(pool.world.url("/"))
            .concurrency(16)
            .requests(200)
            .run(&pool.world.client)?;
        ensure!(report.other_than(&[200, 503]).is_empty(), "{:?}", report.other_than(&[200, 503]));
        ensure!(
            report.count(200) > 0 && report.count(503) > 0,
            "{} and {}",
            report.count(200),
            report.count(503)
        );
        Ok(())
    })
}
