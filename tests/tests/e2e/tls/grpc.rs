//! gRPC over TLS, by a client of others: the Python package `grpcio`.

use std::process::Command;

use anyhow::{Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::ports::Port;
use spillway_tests::process::Process;
use spillway_tests::python;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{SHOP, Site};
use crate::text::document;

#[test]
fn a_grpc_call_over_tls_is_answered_by_its_backend_and_limited_as_a_call() -> Result<()> {
    Scene::play(|scene| {
        let site = Site::start(scene, &[])?;
        let python = python::tool("grpcio", "1.85.1", "python", "SPILLWAY_GRPCIO_PYTHON")?;
        let script = artifacts::workspace().join("tests/python/shop.py").to_string_lossy().into_owned();
        let port = Port::free()?;
        let arguments = [script.clone(), "serve".into(), port.number().to_string(), "v1".into()];
        let _service = Process::start("the gRPC service", &python, arguments, &scene.log("service"))?;
        let backend = format!("protocol: GRPC\nendpoints: [{{address: 127.0.0.1, port: {}}}]", port.number());
        let rule = "parentRefs: [{name: secure, sectionName: https}]\nrules:\n\
                    - {name: place, matches: [{grpc: {service: shop.Orders, method: Place}}], backendRefs: [{name: shop}]}\n\
                    - {name: none, matches: [{grpc: {service: shop.Orders, method: Cancel}}], backendRefs: [{name: shop}]}";
        let policy = "targetRefs: [{kind: Route, name: calls, sectionName: none}]\nrateLimits: [{name: few, rate: 1/h, burst: 1}]";
        let texts = [
            document("Backend", "shop", &backend),
            document("Route", "calls", rule),
            document("TrafficPolicy", "calls", policy),
        ];
        site.world.documents.write("calls.yaml", &texts.join("---\n"))?;
        let call = |method: &str| -> Result<String> {
            let output = Command::new(&python)
                .args([script.as_str(), "secure", &site.https.address().to_string(), method])
                .arg(site.file("ca.crt"))
                .arg(SHOP)
                .output()?;
            let told = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
            ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
            Ok(told)
        };
        wait::until("an answer of the service", || {
            let told = call("/shop.Orders/Place")?;
            ensure!(told == "v1", "{told}");
            Ok(())
        })?;
        wait::until("the limit", || {
            let told = call("/shop.Orders/Cancel")?;
            ensure!(told.starts_with("error RESOURCE_EXHAUSTED"), "{told}");
            Ok(())
        })
    })
}
