//! Constant load by wrk and h2load, while everything that can be edited about Backends is.

use anyhow::{Result, ensure};
use spillway_tests::generators::{Generator, beside};
use spillway_tests::scene::Scene;

use super::{Pool, both, route, served_by};

const BY_USER: &str = ", hashOn: [{header: x-user}]";
const RING: &str = ", loadBalancing: {policy: RingHash}";

#[test]
fn edits_of_weights_endpoints_and_policies_fail_no_request_on_two_envoys() -> Result<()> {
    Scene::play(|scene| {
        let names = ["e1", "e2", "e3", "e4", "e5", "e6"];
        let pool = Pool::start(scene, &names, BY_USER, RING)?;
        let second = pool.second(scene, BY_USER, &[])?;
        let in_force = |expected: &[&str]| {
            served_by(expected, &|user| pool.answers(user))?;
            served_by(expected, &|user| second.answers(user))
        };
        let all_of = |names: &[&'static str]| names.iter().map(|name| (*name, "")).collect::<Vec<_>>();
        let weights = |rule: &str, pool_weight: u32, beta: u32| {
            let refs = format!("{{name: pool, weight: {pool_weight}}}, {{name: beta, weight: {beta}}}");
            pool.world.documents.write("route.yaml", &both(&route(rule).replace("{name: pool}", &refs)))
        };
        in_force(&names)?;
        let (first, other) = (pool.world.url("/"), second.url.clone());
        let loads = [
            (Generator::Wrk, first.as_str()),
            (Generator::WrkReconnecting, other.as_str()),
            (Generator::H2load, first.as_str()),
            (Generator::H2load, other.as_str()),
        ];
        let ((), answered) = beside(&loads, || {
            // Endpoints come and go, are drained and come back, and the policy changes with them.
            pool.set(&all_of(&names[..4]), RING)?;
            in_force(&names[..4])?;
            pool.set(&all_of(&names), ", loadBalancing: {policy: Maglev}")?;
            in_force(&names)?;
            let mut draining = all_of(&names);
            draining[0].1 = ", weight: 0";
            draining[1].1 = ", weight: 3";
            pool.set(&draining, ", loadBalancing: {policy: Maglev}")?;
            in_force(&names[1..])?;
            // The rule's weights: some to another Backend, all to it, and back.
            weights(BY_USER, 1, 1)?;
            in_force(&["beta", "e2", "e3", "e4", "e5", "e6"])?;
            weights(BY_USER, 0, 1)?;
            in_force(&["beta"])?;
            weights("", 1, 0)?;
            in_force(&names[1..])?;
            // Policies that don't look at the request.
            pool.set(&all_of(&names[..3]), ", loadBalancing: {policy: LeastRequest, slowStart: 1s}")?;
            in_force(&names[..3])?;
            pool.set(&all_of(&names), ", loadBalancing: {policy: Random}")?;
            in_force(&names)?;
            Ok(())
        })?;
        println!("answered, and none otherwise than well: {answered:?}");
        ensure!(answered.iter().all(|count| *count >= 400), "{answered:?}");
        Ok(())
    })
}
