//! The services of `docker-compose.yml` as processes of this machine: the same commands, the same files. What containers would do is done by
//! names: each service has a loopback address of its own, and every place that names a service is told that address.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use spillway_tests::artifacts;
use spillway_tests::debian::Program;
use spillway_tests::documents::Documents;
use spillway_tests::name_server::{NameServer, Told};
use spillway_tests::otlp::Sink;
use spillway_tests::process::Process;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{services, texts};

/// What runs, and where.
pub(super) struct Stack {
    folder: PathBuf,
    addresses: BTreeMap<String, Ipv4Addr>,
    running: BTreeMap<String, Process>,
    name_server: NameServer,
    /// In place of the collector, and of what is behind it.
    collector: Option<Sink>,
}

/// The listeners of the fleet. Both Envoys have them, and the kernel spreads connections over both.
const GATEWAY: &str = "gateway";

impl Stack {
    /// Starts these services, each when those that it waits for are well.
    pub(super) fn start(scene: &Scene, wanted: &[&str]) -> Result<Self> {
        let services = services()?;
        // Of each process that tests, a network of its own.
        let process = std::process::id();
        let network = [127, 1 + u8::try_from(process % 250)?, u8::try_from(process / 250 % 250)?];
        let names = services.keys().map(String::as_str).chain([GATEWAY]);
        let addresses = names.zip(2..).map(|(name, number)| {
            (name.to_owned(), Ipv4Addr::new(network[0], network[1], network[2], number))
        });
        let addresses: BTreeMap<_, _> = addresses.collect();
        let name_server = NameServer::start()?;
        for (name, address) in &addresses {
            name_server.tell(name, Told::Addresses(vec![*address]));
        }
        let mut stack = Self {
            folder: scene.folder().to_owned(),
            addresses,
            running: BTreeMap::new(),
            name_server,
            collector: None,
        };
        let mut waiting = wanted.to_vec();
        while !waiting.is_empty() {
            let is_ready = |name: &&str| {
                let service = services.get(*name);
                let needed = service.and_then(|service| service.get("depends_on")).and_then(Value::as_object);
                // What is behind the collector is not there, and is not needed.
                let mut needed = needed.into_iter().flatten().filter(|_| *name != "collector");
                needed.all(|(other, _)| stack.running.contains_key(other))
            };
            let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
            ensure!(!ready.is_empty(), "these wait for others in vain: {rest:?}");
            for name in ready {
                if name == "collector" {
                    let address = stack.address(name)?;
                    let ports = [4317, 4318].map(|port| (address, port).into());
                    stack.collector = Some(Sink::start_on(&ports)?);
                    continue;
                }
                stack.run(name, services.get(name).context("no such service")?)?;
            }
            waiting = rest;
        }
        Ok(stack)
    }

    /// Where a service is.
    pub(super) fn address(&self, name: &str) -> Result<Ipv4Addr> {
        self.addresses.get(name).copied().with_context(|| format!("no service {name}"))
    }

    /// Where clients send requests.
    pub(super) fn gateway(&self) -> Result<String> {
        Ok(format!("http://{}:10000", self.address(GATEWAY)?))
    }

    /// What the collector has got.
    pub(super) fn collector(&self) -> Result<&Sink> {
        self.collector.as_ref().context("no collector runs")
    }

    /// Has a person edit one of the documents.
    pub(super) fn edit(&self, file: &str, old: &str, new: &str) -> Result<()> {
        Documents::empty(&self.folder.join("control-plane/documents"))?.edit(file, &[old], &[new])
    }

    /// Everything that a service has printed.
    pub(super) fn output(&self, name: &str) -> Result<String> {
        Ok(self.running.get(name).with_context(|| format!("{name} does not run"))?.output())
    }

    /// Runs one service until it is well.
    fn run(&mut self, name: &str, service: &Value) -> Result<()> {
        let mounts = self.mounts(name, service)?;
        let image = service.get("image").and_then(Value::as_str).context("no image")?;
        let mut words = texts(service, "/command").into_iter();
        let mut more = Vec::new();
        let mut command = if image == "spillway" {
            more.push(format!("--name-server={}", self.name_server.address()));
            more.push(format!("--filter={}", artifacts::filter()?.display()));
            Command::new(artifacts::spillway()?)
        } else if image.starts_with("prom/prometheus:") {
            more.push(format!("--web.listen-address={}:9090", self.address(name)?));
            Program::find("prometheus", "prometheus", "PROMETHEUS_BIN")?.command()
        } else {
            Command::new(program(words.next().context("no command")?)?)
        };
        for word in words {
            command.arg(self.localised(name, &within(word, &mounts))?);
        }
        if self.collector.is_some() && name == "control-plane" {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}:4318", self.address("collector")?));
            // So that a test does not wait for it.
            command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
        }
        let log = self.folder.join(format!("{name}.log"));
        let process = Process::run(name, command.args(more), &log)?;
        self.running.insert(name.to_owned(), process);
        let check = texts(service, "/healthcheck/test");
        let Some((&"CMD", check)) = check.split_first() else { return Ok(()) };
        let check = check.iter().map(|word| self.localised(name, word)).collect::<Result<Vec<_>>>()?;
        let token = mounts.iter().find(|(inside, _)| inside == "/run/spillway/token").map(|(_, file)| file);
        wait::until(&format!("{name} to be well"), || {
            let (first, rest) = check.split_first().context("an empty check")?;
            let mut command = Command::new(program_or(first));
            command
                .args(rest)
                .env("SPILLWAY_SERVER", format!("http://{}:18001", self.address("control-plane")?));
            if let Some(token) = token {
                command.env("SPILLWAY_TOKEN_FILE", token);
            }
            let output = command.output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        })
    }

    /// What is mounted into a service: the path there, and a copy of it here.
    fn mounts(&self, name: &str, service: &Value) -> Result<Vec<(String, PathBuf)>> {
        let mut mounts = Vec::new();
        for mount in texts(service, "/volumes") {
            let mut parts = mount.split(':');
            let (Some(source), Some(inside)) = (parts.next(), parts.next()) else {
                bail!("{mount}: source:target expected")
            };
            let here = self.folder.join(name).join(inside.trim_start_matches('/'));
            mounts.push((inside.to_owned(), here));
            let Some((inside, here)) = mounts.last() else { continue };
            if let Some(source) = source.strip_prefix("./") {
                let source = artifacts::workspace().join(source);
                self.copy(name, &source, here)
                    .with_context(|| format!("{} in {inside}", source.display()))?;
            } else {
                fs::create_dir_all(here)?;
            }
        }
        // What is mounted is named in files that are mounted as well.
        for (_, here) in &mounts {
            for file in files(here)? {
                let text = fs::read_to_string(&file)?;
                let text = mounts
                    .iter()
                    .filter(|(inside, _)| inside.matches('/').count() > 1)
                    .fold(text, |text, (inside, here)| {
                        text.replace(inside.as_str(), &here.to_string_lossy())
                    });
                fs::write(&file, text)?;
            }
        }
        Ok(mounts)
    }

    fn copy(&self, name: &str, from: &Path, to: &Path) -> Result<()> {
        for file in files(from)? {
            let rest = file.strip_prefix(from)?;
            let to = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            fs::create_dir_all(to.parent().context("no folder")?)?;
            fs::write(&to, self.localised(name, &fs::read_to_string(&file)?)?)?;
        }
        Ok(())
    }

    /// A text of a service with addresses of this machine: its own for all and for itself, those of the others for their names.
    fn localised(&self, name: &str, text: &str) -> Result<String> {
        // The listeners are in documents, which are of the control plane.
        let own = if name == "control-plane" && text.contains("kind: Gateway") { GATEWAY } else { name };
        let own = self.address(own)?.to_string();
        let mut text = text.replace("0.0.0.0", &own).replace("127.0.0.1", &own);
        for (other, address) in &self.addresses {
            let gateway = format!("{}:10000", self.address(GATEWAY)?);
            text = text
                .replace(&format!("{other}:10000"), &gateway)
                .replace(&format!("\"{other}\""), &format!("\"{address}\""));
            for port in 1..=9 {
                text = text.replace(&format!("{other}:{port}"), &format!("{address}:{port}"));
            }
        }
        // So that a test does not wait for it.
        Ok(text.replace("scrape_interval: 5s", "scrape_interval: 500ms"))
    }
}

/// A word of a command line with what it says of a mounted file.
fn within(word: &str, mounts: &[(String, PathBuf)]) -> String {
    let (flag, path) = word.split_once('=').map_or(("", word), |(flag, path)| (flag, path));
    let found = mounts.iter().find_map(|(inside, here)| Some((here, path.strip_prefix(inside.as_str())?)));
    let Some((here, rest)) = found.filter(|(_, rest)| rest.is_empty() || rest.starts_with('/')) else {
        return word.to_owned();
    };
    let equals = if flag.is_empty() { "" } else { "=" };
    format!("{flag}{equals}{}{rest}", here.display())
}

fn program(name: &str) -> Result<PathBuf> {
    match name {
        "envoy" => artifacts::envoy(),
        "spillway" => artifacts::spillway(),
        "spillway-demo-upstream" => artifacts::upstream(),
        "spillway-demo-load" => Ok(artifacts::upstream()?.with_file_name("spillway-demo-load")),
        _ => bail!("what is {name}?"),
    }
}

/// One of ours, or one of the system's.
fn program_or(name: &str) -> PathBuf {
    program(name).unwrap_or_else(|_| name.into())
}

/// A file, or those below a folder.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        found.extend(files(&entry?.path())?);
    }
    Ok(found)
}
