//! Edits that take effect while requests flow, and lose none.

use anyhow::{Result, ensure};
use spillway_tests::load::Running;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{care, document};
use crate::world::{TO_ALPHA, World};

const LIMIT: &str = "rateLimits:\n- {name: total, rate: 1000000/s}\n";

/// Waits until `count` answers in a row are as expected.
fn row(
    load: &mut Running,
    count: usize,
    what: &str,
    expected: impl Fn(Option<u16>, Option<&str>) -> bool,
) -> Result<()> {
    let from = load.answers();
    wait::until(what, || {
        load.going_on()?;
        let records = load.since(from);
        let row =
            records.iter().rev().take_while(|record| expected(record.status(), record.upstream())).count();
        ensure!(row >= count, "{row} in a row of {}", records.len());
        Ok(())
    })
}

#[test]
fn a_limit_is_cut_and_raised() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(LIMIT))])?;
        let mut load = world.steady("/").start(&world.client)?;
        row(&mut load, 100, "the first limit", |status, _| status == Some(200))?;
        for _ in 0..5 {
            world.documents.edit("policy.yaml", &["rate: 1000000/s"], &["rate: 1/h"])?;
            row(&mut load, 100, "the cut", |status, _| status == Some(429))?;
            // The bucket is empty: only the new rate can fill it in less than an hour.
            world.documents.edit("policy.yaml", &["rate: 1/h"], &["rate: 1000000/s"])?;
            row(&mut load, 100, "the raise", |status, _| status == Some(200))?;
        }
        assert_eq!(load.finish()?.other_than(&[200, 429]), [].into());
        Ok(())
    })
}

#[test]
fn an_edited_limit_keeps_the_tokens_of_other_rules() -> Result<()> {
    Scene::play(|scene| {
        let both = care(&format!("{LIMIT}- {{name: spent, key: [{{header: x-user}}], rate: 1/h, burst: 3}}"));
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &both)])?;
        let user = [("x-user", "ann")];
        for _ in 0..3 {
            assert_eq!(world.get("/", &user)?.status, 200);
        }
        assert_eq!(world.get("/", &user)?.status, 429);
        // A change of another rule, seen to be in force, gives nothing back.
        world.documents.edit("policy.yaml", &["rate: 1000000/s"], &["rate: 1/h, burst: 1"])?;
        world.until("the other rule's cut", "/", |answer| {
            answer.header("x-spillway-rejected-by") == Some("rate-limit/care/total")
        })?;
        world.documents.edit("policy.yaml", &["rate: 1/h, burst: 1}"], &["rate: 1000000/s}"])?;
        world.until("the other rule's raise", "/", |answer| answer.status == 200)?;
        let answer = world.get("/", &user)?;
        assert_eq!(
            (answer.status, answer.header("x-spillway-rejected-by")),
            (429, Some("rate-limit/care/spent"))
        );
        Ok(())
    })
}

#[test]
fn weights_are_moved() -> Result<()> {
    const SPLIT: &str = "backendRefs: [{name: alpha, weight: 70}, {name: beta, weight: 30}]";
    const MOVED: &str = "backendRefs: [{name: alpha, weight: 0}, {name: beta, weight: 100}]";
    Scene::play(|scene| {
        let route = TO_ALPHA.replace("backendRefs: [{name: alpha}]", SPLIT);
        let world = World::start(scene, &[("routes.yaml", &route)])?;
        let mut load = world.steady("/").start(&world.client)?;
        row(&mut load, 100, "traffic", |status, _| status == Some(200))?;
        world.documents.edit("routes.yaml", &[SPLIT], &[MOVED])?;
        // With the old weights such a row has the probability 0.3^200.
        row(&mut load, 200, "beta alone", |_, upstream| upstream == Some("beta"))?;
        let settled = load.answers();
        row(&mut load, 300, "beta alone for longer", |_, upstream| upstream == Some("beta"))?;
        assert!(load.since(settled).iter().all(|record| record.upstream() == Some("beta")));
        let report = load.finish()?;
        assert_eq!(report.other_than(&[200]), [].into());
        assert!(report.served_by("alpha") > 0);
        Ok(())
    })
}

#[test]
fn one_backend_is_replaced_by_another_in_one_edit() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let mut load = world.steady("/").start(&world.client)?;
        row(&mut load, 100, "traffic", |status, _| status == Some(200))?;
        // A Backend comes, another goes, and the route follows: in one file, and so in one step, back and forth.
        let base = world.documents.read("base.yaml")?;
        let (kept, port) = (base.clone(), world.upstreams.port("beta")?);
        for round in 0..5 {
            let name = format!("gamma-{round}");
            let backend =
                document("Backend", &name, &format!("endpoints: [{{address: 127.0.0.1, port: {port}}}]"));
            let route = TO_ALPHA.replace("{name: alpha}", &format!("{{name: {name}}}"));
            let gamma = format!("{kept}---\n{backend}---\n{route}");
            if round == 0 {
                // The route moves into the same file first, so that from then on one write changes everything.
                world.documents.write("base.yaml", &format!("{kept}---\n{TO_ALPHA}"))?;
                world.documents.remove("routes.yaml")?;
            }
            world.documents.write("base.yaml", &gamma)?;
            row(&mut load, 100, &name, |_, upstream| upstream == Some("beta"))?;
            world.documents.write("base.yaml", &format!("{kept}---\n{TO_ALPHA}"))?;
            row(&mut load, 100, "alpha again", |_, upstream| upstream == Some("alpha"))?;
        }
        assert_eq!(load.finish()?.other_than(&[200]), [].into());
        wait::until("the last Backend's end", || {
            let left = world.envoy.stats("cluster.gamma")?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
    })
}
