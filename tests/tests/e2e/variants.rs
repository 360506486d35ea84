//! Envoys in every way in which they can ask follow the same edits.

use anyhow::{Result, ensure};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::stage::{Services, Stage, Variant};

/// Three edits under load.
fn follows(kind: (Variant, Services)) -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge"])?;
        let one = stage.envoy("one", "edge", kind, None)?;
        // Only one stream has an order: over several, nobody can hold back a cluster's removal until the routes that left it are there. So
        // there both Backends stay, and the weight moves.
        let replaces = kind.1 == Services::Aggregated;
        if !replaces {
            stage.shift_to("beta")?;
            one.serves("beta")?;
        }
        let load = one.load().start(&stage.client)?;
        for (backend, upstream, old) in [("a", "alpha", "alpha"), ("b", "beta", "a"), ("c", "alpha", "b")] {
            if replaces {
                stage.send_to(backend, upstream)?;
                wait::until("the end of the old cluster", || {
                    ensure!(!one.has_cluster(old)?, "{old} is still there");
                    Ok(())
                })?;
            } else {
                stage.shift_to(upstream)?;
            }
            one.serves(upstream)?;
        }
        load.unharmed()?;
        for kind in ["listener_manager.lds.update_rejected", "cluster_manager.cds.update_rejected"] {
            assert_eq!(one.envoy.stat(kind)?, 0, "{kind}");
        }
        Ok(())
    })
}

/// An Envoy whose listener and cluster are its own.
fn follows_endpoints(variant: Variant) -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge"])?;
        let one = stage.envoy("one", "edge", (variant, Services::Endpoints), None)?;
        let load = one.load().start(&stage.client)?;
        for upstream in ["beta", "alpha"] {
            stage.send_to("alpha", upstream)?;
            one.serves(upstream)?;
        }
        let shown = stage.control_plane.command(&["status"])?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        ensure!(shown.contains("EDS") && !shown.contains("CDS"), "{shown}");
        load.unharmed()?;
        Ok(())
    })
}

#[test]
fn an_envoy_that_takes_endpoints_alone_follows_edits() -> Result<()> {
    follows_endpoints(Variant::Delta)
}

#[test]
fn an_envoy_that_takes_endpoints_alone_for_the_state_of_the_world_follows_edits() -> Result<()> {
    follows_endpoints(Variant::State)
}

#[test]
fn an_envoy_that_asks_for_the_state_of_the_world_follows_edits() -> Result<()> {
    follows((Variant::State, Services::Aggregated))
}

#[test]
fn an_envoy_with_separate_delta_services_follows_edits() -> Result<()> {
    follows((Variant::Delta, Services::Separate))
}

#[test]
fn an_envoy_with_separate_services_for_the_state_of_the_world_follows_edits() -> Result<()> {
    follows((Variant::State, Services::Separate))
}
