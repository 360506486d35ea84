//! What gRPC clients without a proxy follow of Backends: rings, zones and the bound on requests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::ports::Port;
use spillway_tests::process::Process;
use spillway_tests::python;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::document;

/// Services, the Backend `shop` that they are the endpoints of, and a client in zone a.
struct Shop<'a> {
    scene: &'a Scene,
    python: PathBuf,
    documents: Documents,
    services: BTreeMap<&'static str, (Port, Process)>,
    _control_plane: ControlPlane,
}

impl<'a> Shop<'a> {
    /// Services with these names, each answering after so many seconds; `rule` is the rest of the one rule, and `backend` of the Backend's spec.
    fn open(
        scene: &'a Scene,
        names: &[&'static str],
        seconds: &str,
        rule: &str,
        backend: &str,
    ) -> Result<Self> {
        let python = python::tool("grpcio", "1.85.1", "python", "SPILLWAY_GRPCIO_PYTHON")?;
        let mut services = BTreeMap::new();
        for name in names {
            let port = Port::free()?;
            let number = port.number().to_string();
            let process = start(scene, &python, name, &["serve", &number, name, seconds])?;
            wait::until("the gRPC service", || {
                ensure!(process.output().contains("serving"));
                Ok(())
            })?;
            services.insert(*name, (port, process));
        }
        let documents = Documents::empty(&scene.folder().join("documents"))?;
        let gateway = "fleet: shop\nlisteners: [{name: orders, port: 8080, protocol: Proxyless, hostname: orders.shop}]";
        let route = format!(
            "parentRefs: [{{name: shop}}]\nrules: [{{name: all, backendRefs: [{{name: shop}}]{rule}}}]"
        );
        let texts = [document("Gateway", "shop", gateway), document("Route", "shop", &route)];
        documents.write("shop.yaml", &texts.join("---\n"))?;
        documents.write(
            "backend.yaml",
            &document("Backend", "shop", &format!("protocol: GRPC\nendpoints: []\n{backend}")),
        )?;
        let client = Client::new()?;
        let control_plane = ControlPlane::start(&client, documents.folder(), scene.folder())?;
        let server = json!({
            "server_uri": control_plane.xds().to_string(),
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        });
        let node = json!({"id": "python-1", "cluster": "shop", "locality": {"zone": "a"}});
        let bootstrap = json!({"xds_servers": [server], "node": node}).to_string();
        std::fs::write(scene.folder().join("grpc.json"), bootstrap)?;
        Ok(Self { scene, python, documents, services, _control_plane: control_plane })
    }

    /// Gives `shop` these endpoints, each in a zone.
    fn set(&self, endpoints: &[(&str, &str)], backend: &str) -> Result<()> {
        let mut list = String::new();
        for (name, zone) in endpoints {
            let (port, _) = self.services.get(name).context("no such service")?;
            write!(list, "{{address: 127.0.0.1, port: {}, zone: {zone}}}, ", port.number())?;
        }
        let spec = format!("protocol: GRPC\nendpoints: [{list}]\n{backend}");
        self.documents.write("backend.yaml", &document("Backend", "shop", &spec))
    }

    /// A client that calls for ever, with these arguments more.
    fn call(&self, name: &str, command: &str, more: &[&str]) -> Result<Process> {
        let mut client = Command::new(&self.python);
        // The only way to name a bootstrap.
        client.env("GRPC_XDS_BOOTSTRAP", self.scene.folder().join("grpc.json"));
        client.args([&script(), command, "xds:///orders.shop", "/shop.Orders/Place"]).args(more);
        Process::run("the gRPC client", &client, &self.scene.log(name))
    }
}

fn script() -> String {
    artifacts::workspace().join("tests/python/shop.py").to_string_lossy().into_owned()
}

fn start(scene: &Scene, python: &std::path::Path, name: &str, arguments: &[&str]) -> Result<Process> {
    let arguments = std::iter::once(script()).chain(arguments.iter().map(ToString::to_string));
    Process::start("the gRPC service", python, arguments, &scene.log(name))
}

const KEYS: usize = 60;

/// The last answer to each key, once each of them has been answered twice in a row alike, by these services and no others.
fn settled(client: &Process, services: &[&str]) -> Result<BTreeMap<String, String>> {
    let from = client.output().lines().count();
    wait::until(&format!("all keys on {services:?}"), || {
        let output = client.output();
        let lines: Vec<_> = output.lines().skip(from).filter(|line| line.starts_with("user-")).collect();
        let rounds: Vec<_> = lines.rchunks(KEYS).take(2).collect();
        let [last, before] = rounds[..] else { anyhow::bail!("{} answers", lines.len()) };
        let pairs = |lines: &[&str]| -> Result<BTreeMap<String, String>> {
            let pair =
                |line: &&str| line.split_once(' ').map(|(key, name)| (key.to_owned(), name.to_owned()));
            lines.iter().map(|line| pair(line).context("no answer")).collect()
        };
        let (last, before) = (pairs(last)?, pairs(before)?);
        let seen: BTreeSet<_> = last.values().map(String::as_str).collect();
        ensure!(last.len() == KEYS && last == before, "keys are still moving");
        ensure!(seen == services.iter().copied().collect(), "{seen:?}");
        Ok(last)
    })
}

#[test]
fn a_key_stays_on_its_endpoint_of_a_ring() -> Result<()> {
    Scene::play(|scene| {
        let names = ["g1", "g2", "g3", "g4"];
        let ring = "loadBalancing: {policy: RingHash}";
        let shop = Shop::open(scene, &names, "0", ", hashOn: [{header: x-user}]", ring)?;
        let of = |names: &[&'static str]| names.iter().map(|name| (*name, "a")).collect::<Vec<_>>();
        shop.set(&of(&names), ring)?;
        let client = shop.call("client", "call", &[&KEYS.to_string()])?;
        let four = settled(&client, &names)?;
        shop.set(&of(&names[1..]), ring)?;
        let three = settled(&client, &names[1..])?;
        for (key, name) in &four {
            let now = three.get(key).context("a key is missing")?;
            ensure!(name == "g1" || name == now, "{key} has moved from {name} to {now}");
        }
        shop.set(&of(&names), ring)?;
        ensure!(settled(&client, &names)? == four, "not as it was");
        ensure!(!client.output().contains("error"), "{}", client.last_lines(5));
        Ok(())
    })
}

/// Waits until many answers in a row came from these services, and from each of them.
fn served_by(client: &Process, services: &[&str]) -> Result<()> {
    let from = client.output().lines().count();
    wait::until(&format!("answers of {services:?}"), || {
        let output = client.output();
        let lines: Vec<_> = output.lines().skip(from).collect();
        let last = lines.rchunks(40).next().context("no answers")?;
        ensure!(last.len() == 40, "{} answers", last.len());
        let seen: BTreeSet<_> = last.iter().copied().collect();
        ensure!(seen == services.iter().copied().collect(), "{seen:?}");
        Ok(())
    })
}

#[test]
fn a_client_prefers_its_own_zone_and_turns_to_others_when_that_is_gone() -> Result<()> {
    Scene::play(|scene| {
        let mut shop = Shop::open(scene, &["a1", "b1"], "0", "", "")?;
        let zones = [("a1", "a"), ("b1", "b")];
        shop.set(&zones, "")?;
        let client = shop.call("client", "call", &[])?;
        served_by(&client, &["a1", "b1"])?;
        shop.set(&zones, "loadBalancing: {zoneAware: true}")?;
        served_by(&client, &["a1"])?;
        let (_, process) = shop.services.get_mut("a1").context("no such service")?;
        process.kill()?;
        served_by(&client, &["b1"])
    })
}

#[test]
fn a_client_has_no_more_calls_under_way_than_it_may_have() -> Result<()> {
    Scene::play(|scene| {
        let shop = Shop::open(scene, &["g1"], "0.2", "", "")?;
        shop.set(&[("g1", "a")], "connectionPool: {maxRequests: 3}")?;
        let client = shop.call("client", "crowd", &["8"])?;
        let count = |what: &str| client.output().lines().filter(|line| line.starts_with(what)).count();
        wait::until("answers and refusals", || {
            ensure!(count("g1") >= 20 && count("error UNAVAILABLE") >= 20, "{}", client.last_lines(8));
            Ok(())
        })?;
        let (_, service) = shop.services.get("g1").context("no such service")?;
        let most = service
            .output()
            .lines()
            .filter_map(|line| line.strip_prefix("at once ")?.parse::<u32>().ok())
            .max();
        ensure!(most == Some(3), "{most:?} calls at once");
        let others: BTreeSet<_> = client
            .output()
            .lines()
            .filter(|line| *line != "g1" && !line.starts_with("error UNAVAILABLE"))
            .map(str::to_owned)
            .collect();
        ensure!(others.is_empty(), "{others:?}");
        Ok(())
    })
}
