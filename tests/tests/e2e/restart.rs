//! A control plane that dies does not take the data plane with it.

use anyhow::{Result, ensure};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::care;
use crate::world::{TO_ALPHA, World};

const LIMIT: &str = "rateLimits:\n- {name: spent, key: [{header: x-user}], rate: 1/h, burst: 2}\n";

#[test]
fn a_killed_control_plane_is_not_missed_and_takes_over_again() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(LIMIT))])?;
        let user = [("x-user", "ann")];
        for expected in [200, 200, 429] {
            assert_eq!(world.get("/", &user)?.status, expected);
        }
        let updates = |world: &World| world.envoy.stat("listener_manager.listener_modified");
        let listeners = updates(&world)?;
        let load = world.steady("/").header("x-user", "visitor-{n}").start(&world.client)?;
        world.control_plane.kill()?;
        let from = load.answers();
        wait::until("traffic without a control plane", || {
            ensure!(load.answers() >= from + 500);
            Ok(())
        })?;
        world.control_plane.restart()?;
        wait::until("Envoy's return", || {
            ensure!(world.envoy.stat("control_plane.connected_state")? == 1);
            Ok(())
        })?;
        // Whoever had used up a limit still has, and nothing was rebuilt.
        assert_eq!(world.get("/", &user)?.status, 429);
        world.documents.edit("routes.yaml", &["{name: alpha}"], &["{name: beta}"])?;
        world
            .until("an edit after the restart", "/", |answer| answer.header("x-upstream") == Some("beta"))?;
        assert_eq!(world.get("/", &user)?.status, 429, "the restart gave tokens back");
        assert_eq!(updates(&world)?, listeners, "the restart changed a listener");
        // Every request was of another user, so no limit was in the way.
        assert_eq!(load.finish()?.other_than(&[200]), [].into());
        Ok(())
    })
}
