//! `docker-compose.yml`: that it is valid and its containers are confined; and what it starts, started here without containers.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::artifacts;
use spillway_tests::control_plane::run;
use spillway_tests::debian::Program;

mod dashboards;
mod stack;
mod telling;

/// What is started by `docker compose up` alone has to fit into so much.
const MEMORY_MIB: u64 = 4096;

/// What the file says, which docker-compose has found to be valid.
fn services() -> Result<BTreeMap<String, Value>> {
    let compose = Program::find("docker-compose", "docker-compose", "DOCKER_COMPOSE_BIN")?;
    let file = artifacts::workspace().join("docker-compose.yml");
    let output = compose.command().arg("--file").arg(&file).args(["config", "--quiet"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut whole: BTreeMap<String, Value> = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
    Ok(serde_json::from_value(whole.remove("services").context("no services")?)?)
}

/// A list of a service, or none.
fn texts<'a>(service: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = service.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn containers_are_pinned_confined_and_small() -> Result<()> {
    let services = services()?;
    let mut mebibytes = 0;
    for (name, service) in &services {
        let image = service.get("image").and_then(Value::as_str).context("no image")?;
        if service.get("build").is_none() && !image.starts_with("spillway") {
            let tag = image.split_once(':').map_or("latest", |(_, tag)| tag);
            ensure!(
                tag.contains(|c: char| c.is_ascii_digit()) && tag != "latest",
                "{name}: {image} is not pinned"
            );
        }
        let user = service.get("user").and_then(Value::as_str).unwrap_or("0");
        ensure!(!user.starts_with('0') && !user.starts_with("root"), "{name} runs as root");
        ensure!(service.get("read_only") == Some(&Value::Bool(true)), "{name} can write everywhere");
        assert_eq!(texts(service, "/cap_drop"), ["ALL"], "{name}");
        assert_eq!(texts(service, "/security_opt"), ["no-new-privileges:true"], "{name}");
        for port in texts(service, "/ports") {
            ensure!(port.starts_with("127.0.0.1:"), "{name} is published beyond this machine: {port}");
        }
        let memory = service.get("mem_limit").and_then(Value::as_str).and_then(|text| text.strip_suffix('m'));
        let memory: u64 = memory.with_context(|| format!("{name} has no bound of memory"))?.parse()?;
        if texts(service, "/profiles").is_empty() {
            mebibytes += memory;
        }
        // Whoever is waited for says when it is well.
        for (other, condition) in service.get("depends_on").and_then(Value::as_object).into_iter().flatten() {
            let other = services.get(other).context("no such service")?;
            let healthy = condition.get("condition") == Some(&"service_healthy".into());
            ensure!(
                !healthy || other.get("healthcheck").is_some(),
                "{name} waits for what never says that it is well"
            );
        }
    }
    ensure!(mebibytes <= MEMORY_MIB, "{mebibytes} MiB");
    let alone: BTreeSet<_> = services
        .iter()
        .filter(|(_, service)| texts(service, "/profiles").is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(alone, BTreeSet::from(["control-plane", "envoy-1", "envoy-2", "load", "upstreams"]));
    Ok(())
}

#[test]
fn images_are_built_on_pinned_ones() -> Result<()> {
    let file = std::fs::read_to_string(artifacts::workspace().join("deploy/Dockerfile"))?;
    let bases: Vec<_> =
        file.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next()).collect();
    let pinned: Vec<_> = bases.iter().filter_map(|base| base.split_once(':')).collect();
    ensure!(pinned.len() == 2, "{bases:?}");
    for (image, tag) in pinned {
        ensure!(tag.contains(|c: char| c.is_ascii_digit()), "{image}:{tag} is not pinned");
    }
    Ok(())
}

#[test]
fn the_bootstrap_is_what_the_command_prints() -> Result<()> {
    let file = std::fs::read_to_string(artifacts::workspace().join("deploy/envoy.json"))?;
    let arguments = [
        "bootstrap",
        "--fleet",
        "edge",
        "--node",
        "envoy",
        "--xds",
        "control-plane:18000",
        "--admin-port",
        "9901",
        "--max-heap",
        "400",
    ];
    let printed = String::from_utf8(run(&arguments)?.stdout)?;
    // Prometheus is in another container.
    assert_eq!(file, printed.replacen("\"127.0.0.1\"", "\"0.0.0.0\"", 1));
    Ok(())
}

#[test]
fn alerts_fire_when_they_should() -> Result<()> {
    let promtool = Program::find("prometheus", "promtool", "PROMTOOL_BIN")?;
    let folder = artifacts::workspace().join("deploy/prometheus");
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let output = promtool.command().current_dir(&folder).args(arguments).output()?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(output.status.success(), "{said}");
    }
    // Each alert is shown firing.
    let alerts = std::fs::read_to_string(folder.join("alerts.yml"))?;
    let tests = std::fs::read_to_string(folder.join("alerts.test.yml"))?;
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires = tests
            .split(&format!("alertname: {alert}\n"))
            .skip(1)
            .any(|after| after.trim_start().starts_with("exp_alerts"));
        ensure!(fires, "no test shows {alert} firing");
    }
    Ok(())
}
