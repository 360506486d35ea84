//! Graded back-pressure: who is given up, when, and for how long.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::Method;
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{TO_ALPHA, care};
use crate::world::World;

#[test]
fn under_pressure_the_lowest_go_first_and_come_back_late() -> Result<()> {
    const MILD: Option<&str> = Some("degrade/care/mild");
    Scene::play(|scene| {
        let policy = care(
            "concurrency: [{name: pool, max: 10}]\n\
             priority: {from: [{header: x-priority}], default: normal, levels: [high, normal, low]}\n\
             degrade: [{name: mild, when: {saturation: 60%}, shed: [low]}, {name: severe, when: {saturation: 100%}, shed: [low, normal], mode: shadow}]",
        );
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        let low = [("x-priority", "low")];
        let rejected_by = |headers: &[(&str, &str)]| -> Result<Option<String>> {
            let answer = world.get("/?q", headers)?;
            Ok(answer.header("x-spillway-rejected-by").map(str::to_owned))
        };
        assert_eq!(rejected_by(&low)?, None, "without pressure everybody passes");

        // Eight of ten places are taken by important requests.
        world.upstreams.answer_slowly("alpha", 200, 300)?;
        let load = Load::get(world.url("/")).header("x-priority", "high").concurrency(8).requests(100_000);
        let mut load = load.start(&world.client.reconnected()?)?;
        wait::until("the rule to come into force", || {
            load.going_on()?;
            ensure!(rejected_by(&low)?.as_deref() == MILD);
            Ok(())
        })?;
        for headers in
            [&[][..], &[("x-priority", "normal")], &[("x-priority", "high")], &[("x-priority", "king")]]
        {
            assert_eq!(rejected_by(headers)?, None, "{headers:?}");
        }
        let report = load.finish()?;
        assert_eq!(report.other_than(&[200]), [].into(), "important requests are never given up");
        let calm = Instant::now();

        // It does not flap: the signs have to be gone for five seconds.
        world.upstreams.answer_with("alpha", 200)?;
        wait::until("the rule to go out of force", || {
            ensure!(rejected_by(&low)?.is_none());
            Ok(())
        })?;
        ensure!(calm.elapsed() >= Duration::from_secs(4), "it was over after {:?}", calm.elapsed());
        Ok(())
    })
}

#[test]
fn a_share_of_what_is_given_up_is_admitted() -> Result<()> {
    Scene::play(|scene| {
        let policy = care(
            "degrade: [{name: half, when: {errors: 50%}, admit: 50%, only: [{method: GET}], response: {status: 503, body: busy}}]",
        );
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        world.upstreams.answer_with("alpha", 500)?;
        wait::until("the rule to come into force", || {
            let answer = world.get("/", &[])?;
            ensure!(
                answer.header("x-spillway-rejected-by") == Some("degrade/care/half") && answer.body == "busy"
            );
            Ok(())
        })?;
        // Exactly every second one of each worker, once it is in force on both.
        wait::until("half of what is sent to be admitted", || {
            let client = world.client.reconnected()?;
            let report = Load::get(world.url("/")).concurrency(4).requests(200).run(&client)?;
            let (admitted, rejected) = (report.count(500), report.count(503));
            ensure!(
                admitted + rejected == 200 && (98..=102).contains(&admitted),
                "{admitted} of 200 admitted"
            );
            Ok(())
        })?;
        for _ in 0..20 {
            let post = world.client.request(Method::POST, &world.url("/"));
            assert_eq!(world.client.send(post)?.status, 500, "it is about GET only");
        }
        Ok(())
    })
}
