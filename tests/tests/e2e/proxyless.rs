//! gRPC clients that speak xDS themselves: the Python package `grpcio` with `xds:///` targets.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::ports::Port;
use spillway_tests::process::Process;
use spillway_tests::python;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

const DOCUMENTS: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: shop}
spec: {fleet: shop, listeners: [{name: orders, port: 8080, protocol: Proxyless, hostname: orders.shop}]}
---
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: orders}
spec:
  parentRefs: [{name: shop}]
  rules:
    - {name: cancel, matches: [{path: {value: /shop.Orders/Cancel}}], backendRefs: [{name: v2}]}
    - {name: rest, matches: [{path: {value: /shop.Orders}}], backendRefs: [{name: v1, weight: 3}, {name: v2, weight: 1}]}
---
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: v1}
spec: {protocol: GRPC, endpoints: [{address: 127.0.0.1, port: ONE}]}
---
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: v2}
spec: {protocol: GRPC, endpoints: [{address: 127.0.0.1, port: TWO}]}
";

/// The interpreter that has grpcio.
fn interpreter() -> Result<PathBuf> {
    python::tool("grpcio", "1.85.1", "python", "SPILLWAY_GRPCIO_PYTHON")
}

fn shop() -> String {
    artifacts::workspace().join("tests/python/shop.py").to_string_lossy().into_owned()
}

fn service(scene: &Scene, name: &str, port: &Port) -> Result<Process> {
    let arguments = [shop(), "serve".into(), port.number().to_string(), name.into()];
    let process = Process::start("the gRPC service", &interpreter()?, arguments, &scene.log(name))?;
    wait::until("the gRPC service", || {
        ensure!(process.output().contains("serving"));
        Ok(())
    })?;
    Ok(process)
}

/// What the calls after the first `from` were answered with.
fn answers(client: &Process, from: usize) -> Vec<String> {
    let known = |line: &&str| line.starts_with('v') || line.starts_with("error");
    client.output().lines().filter(known).skip(from).map(str::to_owned).collect()
}

#[test]
fn a_grpc_client_without_a_proxy_follows_weights_and_edits() -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let (one, two) = (Port::free()?, Port::free()?);
        let _services = [service(scene, "v1", &one)?, service(scene, "v2", &two)?];
        let documents = Documents::empty(&scene.folder().join("documents"))?;
        let text =
            DOCUMENTS.replace("ONE", &one.number().to_string()).replace("TWO", &two.number().to_string());
        documents.write("shop.yaml", &text)?;
        let mut control_plane = ControlPlane::start(&client, documents.folder(), scene.folder())?;
        control_plane.restart_with(&["--load-interval", "1s"])?;
        let bootstrap = scene.folder().join("grpc.json");
        let server = json!({
            "server_uri": control_plane.xds().to_string(),
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        });
        let node = json!({"id": "python-1", "cluster": "shop", "locality": {"zone": "a"}});
        std::fs::write(&bootstrap, json!({"xds_servers": [server], "node": node}).to_string())?;
        let call = |name: &str, target: &str, method: &str| -> Result<Process> {
            let mut command = Command::new(interpreter()?);
            // The only way to name a bootstrap.
            command.env("GRPC_XDS_BOOTSTRAP", &bootstrap);
            command.args([&shop(), "call", target, method]);
            Process::run("the gRPC client", &command, &scene.log(name))
        };
        let place = call("place", "xds:///orders.shop", "/shop.Orders/Place")?;
        let cancel = call("cancel", "xds:///orders.shop:8080", "/shop.Orders/Cancel")?;

        // Both Backends of a weighted rule, and only the one of the rule that is more specific.
        wait::until("calls to both Backends", || {
            let seen: BTreeSet<_> = answers(&place, 0).into_iter().collect();
            ensure!(seen == ["v1".to_owned(), "v2".to_owned()].into(), "{seen:?}");
            ensure!(answers(&cancel, 0).len() > 20);
            Ok(())
        })?;
        assert_eq!(answers(&cancel, 0).into_iter().collect::<BTreeSet<_>>(), ["v2".to_owned()].into());

        // They say over LRS what they did.
        let rates = || -> Result<[f64; 2]> {
            let loads = client.read(&format!("http://{}/api/v1/loads", control_plane.admin()))?.body;
            let loads: Value = serde_json::from_str(&loads)?;
            let rate = |backend| loads.pointer(&format!("/0/clusters/{backend}/requests"))?.as_f64();
            let rates = rate("v1").zip(rate("v2")).with_context(|| format!("{loads:#}"))?;
            ensure!(loads.pointer("/0/fleet") == Some(&json!("shop")), "{loads:#}");
            Ok(rates.into())
        };
        wait::until("load reports of both Backends", || {
            let rates = rates()?;
            ensure!(rates.iter().all(|rate| *rate > 0.0), "{rates:?}");
            Ok(())
        })?;

        // An edit moves everything to one of them.
        documents.edit("shop.yaml", &["{name: v1, weight: 3}"], &["{name: v1, weight: 0}"])?;
        wait::until("the edit", || {
            let all = answers(&place, 0);
            let last = all.get(all.len().saturating_sub(50)..).context("too few calls")?;
            ensure!(last.iter().all(|name| name == "v2"), "{last:?}");
            Ok(())
        })?;
        wait::until("load reports of one Backend alone", || {
            let [one, two] = rates()?;
            ensure!(one == 0.0 && two > 0.0, "{one} and {two}");
            Ok(())
        })?;
        let errors: Vec<_> =
            answers(&place, 0).into_iter().filter(|line| line.starts_with("error")).collect();
        assert_eq!(errors, [""; 0]);

        let status = control_plane.command(&["status"])?;
        let shown = String::from_utf8_lossy(&status.stdout).into_owned();
        ensure!(status.status.success() && shown.contains("python-1"), "{shown}");
        Ok(())
    })
}
