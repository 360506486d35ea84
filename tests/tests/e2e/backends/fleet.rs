//! Two Envoys agree about where a key belongs, whatever comes and goes, and each about what is near.

use std::time::Duration;

use anyhow::{Result, ensure};
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;

use super::sticky::{moves, settled};
use super::{Pool, served_by};

/// Few, because each is asked four times after each edit; enough that every one of six endpoints has some.
const KEYS: usize = 100;

/// `strays` is how many keys may move, at each edit, between endpoints that stay.
fn agree(policy: &str, strays: usize) -> Result<()> {
    Scene::play(|scene| {
        let names = ["e1", "e2", "e3", "e4", "e5", "e6"];
        let (rule, backend) =
            (", hashOn: [{header: x-user}]", format!(", loadBalancing: {{policy: {policy}}}"));
        let pool = Pool::start(scene, &names, rule, &backend)?;
        let second = pool.second(scene, rule, &[])?;
        let everybody = |endpoints: &[&str]| {
            let first = settled(KEYS, |user| pool.answers(user), endpoints)?;
            ensure!(
                settled(KEYS, |user| second.answers(user), endpoints)? == first,
                "the two Envoys disagree about a key"
            );
            Ok(first)
        };
        let mut keys = everybody(&names)?;
        let loads = [pool.world.url("/"), second.url.clone()].map(|url| {
            Load::get(url)
                .header("x-user", "user-{n}")
                .concurrency(4)
                .pause(Duration::from_millis(2))
                .requests(1_000_000)
                .start(&pool.world.client)
        });
        // One goes, comes back, another goes, and one drains.
        let edits: [(&[(&str, &str)], &str); 4] = [
            (&[("e1", ""), ("e2", ""), ("e3", ""), ("e4", ""), ("e5", "")], "e6"),
            (&[("e1", ""), ("e2", ""), ("e3", ""), ("e4", ""), ("e5", ""), ("e6", "")], "e6"),
            (&[("e2", ""), ("e3", ""), ("e4", ""), ("e5", ""), ("e6", "")], "e1"),
            (&[("e2", ", weight: 0"), ("e3", ""), ("e4", ""), ("e5", ""), ("e6", "")], "e2"),
        ];
        for (endpoints, changed) in edits {
            pool.set(endpoints, &backend)?;
            let serving: Vec<_> =
                endpoints.iter().filter(|(_, rest)| rest.is_empty()).map(|(name, _)| *name).collect();
            let after = everybody(&serving)?;
            let (own, others) = moves(&keys, &after, changed);
            ensure!(
                own > 0 && others <= strays,
                "{changed}: {own} keys moved as they must, {others} without a reason"
            );
            keys = after;
        }
        for load in loads {
            load?.unharmed()?;
        }
        Ok(())
    })
}

#[test]
fn under_load_two_envoys_move_the_same_keys_and_fail_no_request() -> Result<()> {
    agree("RingHash", 0)
}

#[test]
fn under_load_two_envoys_agree_about_a_maglev_table() -> Result<()> {
    // Two or three of a thousand at each edit.
    agree("Maglev", 5)
}

#[test]
fn envoys_of_two_zones_prefer_their_own_and_stand_in_for_each_other() -> Result<()> {
    Scene::play(|scene| {
        let backend = ", loadBalancing: {zoneAware: true}, \
                       healthCheck: {http: {path: /}, interval: 100ms, timeout: 1s, unhealthyAfter: 2, healthyAfter: 1}";
        let names = ["a1", "a2", "b1", "b2"];
        let pool = Pool::start_with(scene, &names, "", "", &["--zone", "a"])?;
        let zones = [("a1", ", zone: a"), ("a2", ", zone: a"), ("b1", ", zone: b"), ("b2", ", zone: b")];
        pool.set(&zones, backend)?;
        let second = pool.second(scene, "", &["--zone", "b"])?;
        let serve = |of_a: &[&str], of_b: &[&str]| {
            served_by(of_a, &|user| pool.answers(user))?;
            served_by(of_b, &|user| second.answers(user))
        };
        serve(&["a1", "a2"], &["b1", "b2"])?;
        for (one, two, of_both) in [("a1", "a2", ["b1", "b2"]), ("b1", "b2", ["a1", "a2"])] {
            pool.upstreams.answer_with(one, 503)?;
            pool.upstreams.answer_with(two, 503)?;
            serve(&of_both, &of_both)?;
            pool.upstreams.answer_with(one, 200)?;
            pool.upstreams.answer_with(two, 200)?;
            serve(&["a1", "a2"], &["b1", "b2"])?;
        }
        Ok(())
    })
}
