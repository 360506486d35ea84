//! Those lines of the protocol's checklist that a real Envoy can show; the others are tests of the state machine.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::world::{TO_ALPHA, World};

#[test]
fn line_23_after_a_reconnect_nothing_is_sent_that_envoy_has() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let updates = |world: &World| -> Result<[u64; 2]> {
            let updates = ["listener_manager.lds.update_success", "cluster_manager.cds.update_success"];
            Ok([world.envoy.stat(updates[0])?, world.envoy.stat(updates[1])?])
        };
        let before = updates(&world)?;
        ensure!(before.iter().all(|updates| *updates > 0), "{before:?}");
        world.control_plane.kill()?;
        world.control_plane.restart()?;
        wait::until("Envoy's return", || {
            ensure!(world.envoy.stat("control_plane.connected_state")? == 1);
            Ok(())
        })?;
        // An edit that concerns routes alone goes round, so whatever was due before it has come too.
        world.documents.edit("routes.yaml", &["{name: alpha}"], &["{name: beta}"])?;
        world.until("an edit", "/", |answer| answer.header("x-upstream") == Some("beta"))?;
        let after = updates(&world)?;
        assert_eq!(after[0], before[0], "the listener was sent again");
        // Of clusters only the new one came, and then the old one went.
        ensure!(after[1] - before[1] <= 2, "{before:?} {after:?}");
        Ok(())
    })
}

#[test]
fn line_26_a_changed_cluster_is_accepted_long_before_envoys_timeout() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let in_force = |world: &World| -> Result<()> {
            let output = world.control_plane.command(&["status"])?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            Ok(())
        };
        wait::until("the first revision", || in_force(&world))?;
        let modified = world.envoy.stat("cluster_manager.cluster_modified")?;
        let (from, to) = ("{name: alpha}\nspec: {", "{name: alpha}\nspec: {protocol: HTTP2, ");
        world.documents.edit("base.yaml", &[from], &[to])?;
        wait::until("the changed cluster", || {
            ensure!(world.envoy.stat("cluster_manager.cluster_modified")? > modified);
            Ok(())
        })?;
        // Without endpoints that follow it, Envoy holds its answer for 15 s.
        wait::until_within(Duration::from_secs(10), "the answer", || in_force(&world))
    })
}

#[test]
fn load_reports_say_what_went_to_which_endpoint() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        world.control_plane.restart_with(&["--load-interval", "1s"])?;
        let load = world.steady("/").start(&world.client)?;
        let endpoint = format!("127.0.0.1:{}", world.upstreams.port("alpha")?);
        wait::until("a report with traffic", || {
            let url = format!("http://{}/api/v1/loads", world.control_plane.admin());
            let view: Value = world.client.read(&url)?.json()?;
            let alpha = view.pointer("/0/clusters/alpha").with_context(|| format!("no report: {view}"))?;
            let endpoints = alpha.pointer("/localities/0/endpoints").context("no endpoints")?;
            let requests =
                endpoints.get(&endpoint).and_then(|one| one.get("requests")).and_then(Value::as_f64);
            ensure!(requests.is_some_and(|requests| requests > 0.0), "{view}");
            ensure!(view.pointer("/0/fleet") == Some(&"edge".into()), "{view}");
            Ok(())
        })?;
        assert_eq!(load.finish()?.other_than(&[200]), [].into());
        Ok(())
    })
}

#[test]
fn a_control_plane_that_is_asked_to_stop_is_not_missed() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let mut load = world.steady("/").start(&world.client)?;
        let status = world.control_plane.process()?.terminate()?;
        ensure!(status.success(), "{status}");
        let output = world.control_plane.output();
        ensure!(!output.contains("did not end in time"), "{output}");
        let from = load.answers();
        wait::until("traffic without a control plane", || {
            load.going_on()?;
            ensure!(load.answers() >= from + 500);
            Ok(())
        })?;
        world.control_plane.restart()?;
        world.documents.edit("routes.yaml", &["{name: alpha}"], &["{name: beta}"])?;
        world.until("an edit", "/", |answer| answer.header("x-upstream") == Some("beta"))?;
        assert_eq!(load.finish()?.other_than(&[200]), [].into());
        Ok(())
    })
}
