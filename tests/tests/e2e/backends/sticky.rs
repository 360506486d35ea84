//! A key stays on its endpoint, and on its Backend, while fleets grow and shrink.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::Pool;

const KEYS: usize = 1_000;

/// Who answers each key. Asked twice: until both workers have an edit in force a key may be answered by two.
pub(super) fn settled(
    keys: usize,
    answers: impl Fn(&str) -> Result<String>,
    endpoints: &[&str],
) -> Result<BTreeMap<usize, String>> {
    let ask = || {
        (0..keys).map(|key| Ok((key, answers(&format!("user-{key}"))?))).collect::<Result<BTreeMap<_, _>>>()
    };
    wait::until("every key on one endpoint", || {
        let (first, second) = (ask()?, ask()?);
        ensure!(first == second, "keys are still moving");
        let seen: BTreeSet<_> = first.values().map(String::as_str).collect();
        ensure!(seen == endpoints.iter().copied().collect(), "{seen:?}");
        Ok(first)
    })
}

/// How many keys moved to or from `changed`, and how many between others.
pub(super) fn moves(
    before: &BTreeMap<usize, String>,
    after: &BTreeMap<usize, String>,
    changed: &str,
) -> (usize, usize) {
    let moved: Vec<_> = before.iter().zip(after).filter(|((_, a), (_, b))| a != b).collect();
    let own = moved.iter().filter(|((_, a), (_, b))| a.as_str() == changed || b.as_str() == changed).count();
    (own, moved.len() - own)
}

/// Four endpoints, a fifth comes, one of the first goes. `strays` is how many keys may move between endpoints that stay.
fn grows_and_shrinks(rule: &str, policy: &str, strays: usize) -> Result<()> {
    Scene::play(|scene| {
        let names = ["e1", "e2", "e3", "e4", "e5"];
        let backend = format!(", loadBalancing: {{policy: {policy}}}");
        let pool = Pool::start(scene, &names, rule, &backend)?;
        let set = |names: &[&str]| {
            let endpoints: Vec<_> = names.iter().map(|name| (*name, "")).collect();
            pool.set(&endpoints, &backend)
        };
        set(&names[..4])?;
        let four = settled(KEYS, |user| pool.answers(user), &names[..4])?;
        set(&names)?;
        let five = settled(KEYS, |user| pool.answers(user), &names)?;
        let (moved, stray) = moves(&four, &five, "e5");
        println!("{policy}: the fifth endpoint moved {moved} of {KEYS} keys, and {stray} between others");
        // Binomial, sigma = sqrt(1000 * 0.2 * 0.8) = 13, and the shares of a ring differ by 4 %: 200 +- 80 is more than five sigma.
        ensure!(moved.abs_diff(KEYS / 5) <= 80, "{moved} keys moved to the new endpoint");
        ensure!(stray <= strays, "{stray} keys moved between endpoints that did not change");

        set(&["e1", "e3", "e4", "e5"])?;
        let without = settled(KEYS, |user| pool.answers(user), &["e1", "e3", "e4", "e5"])?;
        let (_, stray) = moves(&five, &without, "e2");
        println!("{policy}: the second endpoint's going moved {stray} keys of others");
        ensure!(stray <= strays, "{stray} keys moved between endpoints that did not change");
        Ok(())
    })
}

#[test]
fn on_a_ring_an_endpoint_that_comes_or_goes_moves_only_its_own_keys() -> Result<()> {
    grows_and_shrinks(", hashOn: [{header: x-user}]", "RingHash", 0)
}

#[test]
fn in_a_maglev_table_hardly_any_other_key_moves() -> Result<()> {
    // Of a thousand keys two or three; ten is a hundredth.
    grows_and_shrinks(", hashOn: [{header: x-user}]", "Maglev", 10)
}

const KEYED: &str = "\
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: keyed}
spec: {targetRefs: [{kind: Gateway, name: edge}], routeKey: [{header: x-user}]}
";

#[test]
fn a_route_key_stays_where_it_is() -> Result<()> {
    Scene::play(|scene| {
        let names = ["e1", "e2", "e3", "e4"];
        let backend = ", loadBalancing: {policy: Maglev}";
        let pool = Pool::start(scene, &names, "", backend)?;
        pool.world.documents.write("keyed.yaml", KEYED)?;
        pool.world.documents.write("route.yaml", &super::route(", hashOn: [routeKey]"))?;
        settled(KEYS, |user| pool.answers(user), &names).map(drop)
    })
}

#[test]
fn several_backends_are_chosen_by_the_same_hash() -> Result<()> {
    chooses_backends("{header: x-user}", None)
}

#[test]
fn several_backends_are_chosen_by_the_route_key() -> Result<()> {
    chooses_backends("routeKey", Some(KEYED))
}

/// Two Backends share the keys by their weights, and an edit of the weights moves only what it must.
fn chooses_backends(hash: &str, policy: Option<&str>) -> Result<()> {
    Scene::play(|scene| {
        let names = ["e1", "e2"];
        let backend = ", loadBalancing: {policy: RingHash}";
        let pool = Pool::start(scene, &names, "", backend)?;
        if let Some(policy) = policy {
            pool.world.documents.write("keyed.yaml", policy)?;
        }
        let shares = |pool_weight, beta| {
            super::route(&format!(", hashOn: [{hash}]")).replace(
                "{name: pool}",
                &format!("{{name: pool, weight: {pool_weight}}}, {{name: beta, weight: {beta}}}"),
            )
        };
        let of_beta = |keys: &BTreeMap<usize, String>| keys.values().filter(|name| *name == "beta").count();
        pool.world.documents.write("route.yaml", &shares(1, 1))?;
        let half = settled(KEYS, |user| pool.answers(user), &["beta", "e1", "e2"])?;
        ensure!(of_beta(&half).abs_diff(KEYS / 2) <= 100, "{} of {KEYS}", of_beta(&half));
        // From a half to a fifth: three tenths leave it, nobody comes.
        pool.world.documents.write("route.yaml", &shares(4, 1))?;
        let fifth = wait::until("the new weights", || {
            let keys = settled(KEYS, |user| pool.answers(user), &["beta", "e1", "e2"])?;
            ensure!(of_beta(&keys).abs_diff(KEYS / 5) <= 80, "{} of {KEYS}", of_beta(&keys));
            Ok(keys)
        })?;
        for (key, name) in &fifth {
            let before = half.get(key).context("a key")?;
            ensure!(name == before || before == "beta", "key {key} moved from {before} to {name}");
        }
        Ok(())
    })
}

#[test]
fn a_session_outlives_that_its_endpoint_drains() -> Result<()> {
    Scene::play(|scene| {
        let names = ["e1", "e2", "e3"];
        let pool = Pool::start(scene, &names, ", sessionPersistence: {sessionName: sid}", "")?;
        // A client begins a session on e1.
        let mut cookie = String::new();
        wait::until("a session on e1", || {
            let answer = pool.world.get("/", &[])?;
            ensure!(answer.header("x-upstream") == Some("e1"), "{answer:?}");
            let set = answer.header("set-cookie").context("no cookie")?;
            ensure!(set.starts_with("sid=") && set.contains("HttpOnly"), "{set}");
            set.split(';').next().context("an empty cookie")?.clone_into(&mut cookie);
            Ok(())
        })?;
        let load = pool.world.steady("/").start(&pool.world.client)?;
        let of_session = || {
            for _ in 0..20 {
                let answer = pool.world.get("/", &[("cookie", &cookie)])?;
                ensure!(answer.header("x-upstream") == Some("e1"), "the session is on {answer:?}");
                ensure!(answer.header("set-cookie").is_none(), "a session that stays needs no new cookie");
            }
            Ok(())
        };
        of_session()?;
        pool.set(&[("e1", ", weight: 0"), ("e2", ""), ("e3", "")], "")?;
        pool.world.until("no new session on e1", "/", |answer| {
            answer.status == 200 && answer.header("x-upstream") != Some("e1")
        })?;
        of_session()?;
        // Once it is gone, the session goes on elsewhere.
        pool.set(&[("e2", ""), ("e3", "")], "")?;
        wait::until("the session elsewhere", || {
            for _ in 0..20 {
                let answer = pool.world.get("/", &[("cookie", &cookie), ("connection", "close")])?;
                ensure!(answer.header("x-upstream") != Some("e1"), "{answer:?}");
            }
            Ok(())
        })?;
        load.unharmed()?;
        Ok(())
    })
}
