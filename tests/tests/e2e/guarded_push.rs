//! `Gateway.push`: a change that an Envoy refuses reaches one of a fleet, and everybody learns which document is to blame.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::stage::{Proxied, Services, Stage, Variant};

const KIND: (Variant, Services) = (Variant::Delta, Services::Aggregated);

/// The Gateway that [`Stage`] has written, with this `push` and more listeners.
fn write_gateway(stage: &Stage, push: &str, more: &str) -> Result<()> {
    let file = "gateway-edge.yaml";
    let old = stage.documents.read(file)?;
    let listener = old.lines().find(|line| line.contains("listeners:")).context("no listeners")?;
    let end = listener.find('}').context("no listener")?;
    let (first, _) = listener.split_at(end + 1);
    let head = old.split("spec:").next().unwrap_or_default();
    stage.documents.write(file, &format!("{head}spec:\n  fleet: edge\n  push: {push}\n{first}{more}]\n"))
}

/// The fleet as `spillway status` shows it to programs, and its exit code.
fn status(stage: &Stage) -> Result<(Value, Option<i32>)> {
    let output = stage.control_plane.command(&["status", "-o", "json"])?;
    let fleets: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let fleet = fleets.get(0).cloned().context("no fleet")?;
    Ok((fleet, output.status.code()))
}

fn in_force(stage: &Stage, proxies: usize) -> Result<()> {
    wait::until("the revision to be in force everywhere", || {
        let (fleet, code) = status(stage)?;
        let connected = fleet.get("proxies").and_then(Value::as_array).map(Vec::len);
        let everywhere = fleet.get("inForce") == Some(&Value::Bool(true));
        ensure!(connected == Some(proxies) && everywhere && code == Some(0), "{fleet:#}");
        Ok(())
    })
}

fn rejected(proxied: &Proxied) -> Result<u64> {
    proxied.envoy.stat("listener_manager.lds.update_rejected")
}

#[test]
fn a_refusal_stops_a_push_and_names_the_document() -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge"])?;
        let push = "{canaries: 1, timeout: 20s}";
        write_gateway(&stage, push, "")?;
        let envoys = ["one", "two", "three"]
            .into_iter()
            .map(|name| stage.envoy(name, "edge", KIND, None))
            .collect::<Result<Vec<_>>>()?;
        in_force(&stage, 3)?;
        let load = envoys.first().context("no Envoy")?.load().start(&stage.client)?;

        // One that is good comes through.
        stage.send_to("b", "beta")?;
        wait::until("the new cluster in all three", || {
            for one in &envoys {
                ensure!(one.has_cluster("b")?);
            }
            Ok(())
        })?;
        in_force(&stage, 3)?;

        // A documentation address (RFC 5737), which no machine has: a valid document, and nothing that an Envoy could bind.
        let bad =
            format!(", {{name: bad, address: 192.0.2.1, port: {}, protocol: HTTP}}", Port::free()?.number());
        write_gateway(&stage, push, &bad)?;
        let (fleet, code) = wait::until("the push to be stopped", || {
            let (fleet, code) = status(&stage)?;
            ensure!(fleet["push"]["state"] == "stopped", "{fleet:#}");
            Ok((fleet, code))
        })?;
        assert_eq!(code, Some(1));
        let refused = &fleet["push"]["refused"];
        assert_eq!(refused["document"], "Gateway edge", "{refused:#}");
        assert_eq!(refused["field"], "spec.listeners[1].address", "{refused:#}");
        let counts = envoys.iter().map(rejected).collect::<Result<Vec<_>>>()?;
        assert_eq!(counts.iter().filter(|count| **count > 0).count(), 1, "{counts:?}");
        let log = stage.control_plane.output();
        ensure!(log.contains("a proxy that tried a revision has refused it"), "it is not logged");

        // Whoever connects meanwhile gets what is in use.
        let four = stage.envoy_serving("four", "edge", KIND, "beta")?;
        assert_eq!(rejected(&four)?, 0);
        assert_eq!(status(&stage)?.0["push"]["state"], "stopped");
        let shown = stage.control_plane.command(&["status"])?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        ensure!(
            shown.contains("refuses LDS") && shown.contains("Gateway edge spec.listeners[1].address"),
            "{shown}"
        );

        // The mistake is taken back, and the next edit comes through.
        write_gateway(&stage, push, "")?;
        in_force(&stage, 4)?;
        stage.send_to("a", "alpha")?;
        wait::until("the last cluster in all", || {
            for one in envoys.iter().chain([&four]) {
                ensure!(one.has_cluster("a")?);
            }
            Ok(())
        })?;
        in_force(&stage, 4)?;
        load.unharmed()?;
        Ok(())
    })
}

#[test]
fn a_control_plane_killed_in_the_middle_of_a_stopped_push_comes_back_with_what_was_accepted() -> Result<()> {
    Scene::play(|scene| {
        let mut stage = Stage::start(scene, &["edge"])?;
        let push = "{canaries: 1, timeout: 20s}";
        write_gateway(&stage, push, "")?;
        let envoys = [stage.envoy("one", "edge", KIND, None)?, stage.envoy("two", "edge", KIND, None)?];
        in_force(&stage, 2)?;
        let load = envoys.first().context("no Envoy")?.load().start(&stage.client)?;
        let stopped = |stage: &Stage| {
            wait::until("the push to be stopped", || {
                let (fleet, _) = status(stage)?;
                let connected = fleet["proxies"].as_array().map_or(0, Vec::len);
                ensure!(fleet["push"]["state"] == "stopped" && connected == 2, "{fleet:#}");
                Ok(fleet["push"]["inUse"].clone())
            })
        };
        let bad =
            format!(", {{name: bad, address: 192.0.2.1, port: {}, protocol: HTTP}}", Port::free()?.number());
        write_gateway(&stage, push, &bad)?;
        let in_use = stopped(&stage)?;

        stage.control_plane.kill()?;
        stage.control_plane.restart()?;
        // One of them tries it again. Whoever connects then has never heard of it.
        assert_eq!(stopped(&stage)?, in_use);
        let three = stage.envoy_serving("three", "edge", KIND, "alpha")?;
        assert_eq!(rejected(&three)?, 0);
        let rejected = envoys.iter().map(rejected).sum::<Result<u64>>()?;
        ensure!((1..=2).contains(&rejected), "refused {rejected} times");

        write_gateway(&stage, push, "")?;
        in_force(&stage, 3)?;
        stage.send_to("b", "beta")?;
        in_force(&stage, 3)?;
        load.unharmed()?;
        Ok(())
    })
}

#[test]
fn a_canary_that_says_nothing_is_replaced() -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge"])?;
        write_gateway(&stage, "{canaries: 1, timeout: 1s}", "")?;
        let mut one = stage.envoy("one", "edge", KIND, None)?;
        let two = stage.envoy("two", "edge", KIND, None)?;
        in_force(&stage, 2)?;
        // The one that has been connected longest is asked first.
        signal(&mut one, "-STOP")?;
        stage.send_to("b", "beta")?;
        wait::until("the new cluster in the one that answers", || {
            ensure!(two.has_cluster("b")?);
            Ok(())
        })?;
        wait::until("the end of the trial", || {
            let (fleet, _) = status(&stage)?;
            ensure!(fleet["push"]["state"] == "everywhere", "{fleet:#}");
            Ok(())
        })?;
        signal(&mut one, "-CONT")?;
        in_force(&stage, 2)
    })
}

fn signal(proxied: &mut Proxied, signal: &str) -> Result<()> {
    let id = proxied.envoy.process().id().to_string();
    ensure!(Command::new("kill").args([signal, &id]).status()?.success(), "kill {signal} failed");
    Ok(())
}
