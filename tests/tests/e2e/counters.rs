//! Counters of the filter, which live in VMs that Envoy replaces.

use anyhow::{Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::care;
use crate::world::{TO_ALPHA, World};

const CLOSED: &str = "rateLimits:\n- {name: one, rate: 1/h, burst: 1}\n";
const BUILT: &str = "wasm.envoy.wasm.runtime.v8.created";
const REJECTED: &str = "spillway_rejected.kind.rate-limit.policy.care.rule.one";

#[test]
fn what_was_counted_outlives_the_vms_that_counted_it() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(CLOSED))])?;
        for _ in 0..20 {
            assert_eq!(world.get("/", &[])?.status, 429);
        }
        let counted = |world: &World| anyhow::Ok(world.envoy.stats(REJECTED)?.values().sum::<u64>());
        wait::until("the first VMs' counts", || {
            let seen = counted(&world)?;
            ensure!(seen >= 20, "{seen} of 20 rejects are counted");
            Ok(())
        })?;
        // World's own first request may have been rejected too, while it waited.
        let rejected = counted(&world)?;

        // Another build of the module: the same with a custom section of no meaning.
        let mut module = std::fs::read(artifacts::filter()?)?;
        module.extend([0, 2, 1, b'n']);
        let file = scene.folder().join("another.wasm");
        std::fs::write(&file, module)?;
        let built = world.envoy.stat(BUILT)?;
        world.control_plane.restart_with_filter(file)?;
        wait::until("VMs of the other build", || {
            let now = world.envoy.stat(BUILT)?;
            // A base VM, one for the main thread, one for each worker.
            ensure!(now >= built + 4, "{} VMs were built", now - built);
            Ok(())
        })?;
        world.envoy.wait_settled()?;
        assert_eq!(counted(&world)?, rejected, "a count went with its VM");
        assert_eq!(world.get("/", &[])?.status, 429);
        wait::until("the new VMs' counts", || {
            let seen = counted(&world)?;
            ensure!(seen == rejected + 1, "{seen} rejects are counted, not {}", rejected + 1);
            Ok(())
        })
    })
}
