//! CSDS, asked by a program of others: Python, with the stubs that are published for Envoy's protocols.

use std::process::Command;

use anyhow::{Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::python;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::stage::{Services, Stage, Variant};

#[test]
fn a_stock_client_is_told_what_every_envoy_has() -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge"])?;
        let _aggregated = stage.envoy("one", "edge", (Variant::Delta, Services::Aggregated), None)?;
        let _separate = stage.envoy("two", "edge", (Variant::State, Services::Separate), None)?;
        // It comes with Envoy's protocols.
        let python = python::tool("grpcio-csds", "1.85.0", "python", "SPILLWAY_CSDS_PYTHON")?;
        let script = artifacts::workspace().join("tests/python/csds.py");
        let address = stage.control_plane.xds().to_string();
        wait::until("both Envoys to have accepted everything", || {
            let output = Command::new(&python).arg(&script).arg(&address).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            for node in ["one", "two"] {
                for kind in ["Cluster alpha", "ClusterLoadAssignment alpha", "Listener "] {
                    let line = format!("{node} {kind}");
                    let acked = |one: &str| one.starts_with(&line) && one.ends_with(" ACKED");
                    ensure!(told.lines().any(acked), "no {line:?} in\n{told}");
                }
            }
            Ok(())
        })
    })
}
