//! Two Envoys agree about where a key belongs, whatever comes and goes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::envoy::Envoy;
use spillway_tests::load::Load;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;

use super::sticky::{moves, settled};
use super::{Pool, route};
use crate::text::document;

/// Few, because each is asked four times after each edit; enough that every one of six endpoints has some.
const KEYS: usize = 150;

const BACKEND: &str = ", loadBalancing: {policy: RingHash}";

#[test]
fn under_load_two_envoys_move_the_same_keys_and_fail_no_request() -> Result<()> {
    Scene::play(|scene| {
        let names = ["e1", "e2", "e3", "e4", "e5", "e6"];
        let pool = Pool::start(scene, &names, ", hashOn: [{header: x-user}]", BACKEND)?;
        let world = &pool.world;
        let (web, admin) = (Port::free()?, Port::free()?);
        let gateway = format!(
            "fleet: second\nlisteners: [{{name: web, address: 127.0.0.1, port: {}, protocol: HTTP}}]",
            web.number()
        );
        world.documents.write("second.yaml", &document("Gateway", "second", &gateway))?;
        let both = route(", hashOn: [{header: x-user}]")
            .replace("parentRefs: [{name: edge}]", "parentRefs: [{name: edge}, {name: second}]");
        world.documents.write("route.yaml", &both)?;
        let bootstrap = scene.folder().join("second.yaml");
        world.control_plane.bootstrap("second", &admin, &bootstrap, &[])?;
        let _second = Envoy::start(&world.client, &bootstrap, &admin, 2, &scene.log("second"))?;
        let url = format!("http://{}/", web.address());

        let everybody = |endpoints: &[&str]| {
            let first = settled(KEYS, |user| pool.answers(user), endpoints)?;
            let asked = |user: &str| -> Result<String> {
                let answer = world.client.get(&url, &[("x-user", user)])?;
                Ok(answer.header("x-upstream").with_context(|| format!("{answer:?}"))?.to_owned())
            };
            ensure!(settled(KEYS, asked, endpoints)? == first, "the two Envoys disagree about a key");
            Ok(first)
        };
        let set = |endpoints: &[&str]| {
            let endpoints: Vec<_> = endpoints.iter().map(|name| (*name, "")).collect();
            pool.set(&endpoints, BACKEND)
        };
        let mut keys = everybody(&names)?;
        let loads = [world.url("/"), url.clone()].map(|url| {
            Load::get(url)
                .header("x-user", "user-{n}")
                .concurrency(4)
                .pause(Duration::from_millis(2))
                .requests(1_000_000)
                .start(&world.client)
        });
        for (endpoints, changed) in [(&names[..5], "e6"), (&names[..], "e6"), (&names[1..], "e1")] {
            set(endpoints)?;
            let after = everybody(endpoints)?;
            let (own, strays) = moves(&keys, &after, changed);
            ensure!(
                own > 0 && strays == 0,
                "{changed}: {own} keys moved as they must, {strays} without a reason"
            );
            keys = after;
        }
        for load in loads {
            load?.unharmed()?;
        }
        Ok(())
    })
}
