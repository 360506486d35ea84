//! Programs that die, or are not there yet.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::envoy::Envoy;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::stage::{Services, Stage, Variant};

const DELTA: (Variant, Services) = (Variant::Delta, Services::Aggregated);
const STATE: (Variant, Services) = (Variant::State, Services::Aggregated);

/// Kills the control plane three times, and each time replaces the Backend while nobody is there to see it.
fn killed(kind: (Variant, Services)) -> Result<()> {
    Scene::play(|scene| {
        let mut stage = Stage::start(scene, &["edge"])?;
        let envoy = stage.envoy("one", "edge", kind, None)?;
        let load = envoy.load().start(&stage.client)?;
        for (number, upstream) in [(1, "beta"), (2, "alpha"), (3, "beta")] {
            stage.control_plane.kill()?;
            stage.send_to(&format!("{upstream}-{number}"), upstream)?;
            stage.control_plane.restart()?;
            envoy.serves(upstream)?;
        }
        load.unharmed()?;
        Ok(())
    })
}

#[test]
fn a_control_plane_that_is_killed_while_clusters_are_replaced_costs_no_request() -> Result<()> {
    killed(DELTA)
}

#[test]
fn a_control_plane_that_is_killed_while_clusters_are_replaced_costs_no_request_in_the_state_of_the_world()
-> Result<()> {
    killed(STATE)
}

#[test]
fn an_envoy_that_is_killed_comes_back_with_what_is_in_force() -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge"])?;
        let mut envoy = stage.envoy("one", "edge", DELTA, None)?;
        for (backend, upstream) in [("b", "beta"), ("a", "alpha")] {
            stage.send_to(backend, upstream)?;
            envoy.restart()?;
            envoy.serves(upstream)?;
        }
        // And it follows like the first one did.
        stage.send_to("b", "beta")?;
        envoy.serves("beta")
    })
}

#[test]
fn an_envoy_that_is_there_before_the_control_plane_is_served_when_that_comes() -> Result<()> {
    Scene::play(|scene| {
        let mut stage = Stage::start(scene, &["edge"])?;
        stage.control_plane.kill()?;
        let mut envoy = stage.launch("one", "edge", DELTA, None)?;
        wait::until("attempts to connect", || {
            ensure!(envoy.envoy.stat("cluster.spillway.upstream_cx_connect_fail")? >= 2, "none so far");
            Ok(())
        })?;
        stage.control_plane.restart()?;
        envoy.envoy.wait_ready()?;
        envoy.serves("alpha")
    })
}

/// The path of the module that is in force. Envoy's counters of modules won't do: it drops them with the configuration that made them.
fn module_of(envoy: &Envoy) -> Result<String> {
    let dump = envoy.config_dump()?.to_string();
    let at = dump.find("/filter/").context("no module in the dump")?;
    Ok(dump.get(at..at + 72).context("a path cut short")?.to_owned())
}

#[test]
fn another_build_of_the_filter_comes_into_force_without_a_failed_request() -> Result<()> {
    Scene::play(|scene| {
        let mut stage = Stage::start(scene, &["edge", "state"])?;
        let limit = "apiVersion: spillway.dev/v1\nkind: TrafficPolicy\nmetadata: {name: generous}\nspec:\n  \
                     targetRefs: [{kind: Route, name: site}]\n  rateLimits: [{name: all, rate: 1000000/s}]\n";
        stage.documents.write("limit.yaml", limit)?;
        let envoys = [stage.envoy("one", "edge", DELTA, None)?, stage.envoy("two", "state", STATE, None)?];
        let module = fs::read(artifacts::filter()?)?;
        let loads =
            envoys.iter().map(|envoy| envoy.load().start(&stage.client)).collect::<Result<Vec<_>>>()?;
        for build in 1..=2_u8 {
            // A custom section (id 0) of six bytes: its name, `build`, takes all of them. Another module that does the same.
            let section = [&[0, 7, 5][..], b"build", &[build]].concat();
            let file = scene.folder().join(format!("build-{build}.wasm"));
            fs::write(&file, [&module[..], &section].concat())?;
            let before = envoys.iter().map(|envoy| module_of(&envoy.envoy)).collect::<Result<Vec<_>>>()?;
            stage.control_plane.restart_with_filter(file)?;
            for (envoy, before) in envoys.iter().zip(before) {
                wait::until("the new module", || {
                    ensure!(module_of(&envoy.envoy)? != before, "Envoy uses {before}");
                    Ok(())
                })?;
            }
        }
        // The newest filter is in force: it takes a limit that no request gets past.
        stage.documents.write("limit.yaml", &limit.replace("1000000/s", "1/h, burst: 1"))?;
        let mut reports = Vec::new();
        for (envoy, mut load) in envoys.iter().zip(loads) {
            load.going_on()?;
            let from = load.answers();
            wait::until("the limit", || {
                let limited = load.since(from).iter().any(|record| record.status() == Some(429));
                ensure!(limited, "requests still pass");
                Ok(())
            })?;
            assert_eq!(
                envoy.envoy.stat("listener_manager.listener_modified")?,
                0,
                "the restart changed a listener"
            );
            reports.push(load.finish()?);
        }
        for report in reports {
            assert_eq!(report.other_than(&[200, 429]), [].into());
        }
        Ok(())
    })
}
