//! What becomes of the state of a rule that is removed.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{TO_ALPHA, care};
use crate::world::World;

/// Whether somebody who has asked is admitted, once the limit is in force on whichever worker answers: whoever is told of a limit was asked by it.
fn is_admitted(world: &World) -> Result<bool> {
    wait::until("the limit to be in force", || {
        let answer = world.get("/once", &[("connection", "close")])?;
        ensure!(answer.header("ratelimit").is_some(), "no limit is in force");
        Ok(answer.status == 200)
    })
}

#[test]
fn a_removed_rule_is_forgotten_and_one_that_comes_back_later_begins_anew() -> Result<()> {
    Scene::play(|scene| {
        let rule = care(
            "rateLimits: [{name: once, when: [{path: {value: /once}}], rate: 1/h, burst: 1, rateLimitHeaders: true}]",
        );
        let none = care("rateLimits: [{name: other, rate: 1000000/s}]");
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &rule)])?;
        assert!(is_admitted(&world)?);
        assert!(!is_admitted(&world)?, "it was the only token");
        let mut pause = Duration::from_secs(11);
        wait::until("the rule to begin anew", || {
            world.documents.write("policy.yaml", &none)?;
            world.until("the rule to be gone", "/once", |answer| answer.header("ratelimit").is_none())?;
            // Ten seconds after the last worker has done without it, and the one record that it has is freed.
            thread::sleep(pause);
            world.documents.write("policy.yaml", &rule)?;
            // A machine that was slow gets more time.
            pause += Duration::from_secs(5);
            ensure!(is_admitted(&world)?, "its state is still there");
            Ok(())
        })?;
        assert!(!is_admitted(&world)?, "what is new is a limit as before");
        Ok(())
    })
}
