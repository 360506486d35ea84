//! The demo's upstreams: services that say their names and fail on command.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::json;

use crate::artifacts;
use crate::client::Client;
use crate::ports::Port;
use crate::process::Process;
use crate::scene::Scene;
use crate::wait;

/// Several services in one process.
#[derive(Debug)]
pub struct Upstreams {
    process: Process,
    client: Client,
    control: Port,
    services: Vec<(String, Port)>,
}

/// A service as its control port shows it.
#[derive(Debug, Deserialize)]
struct Shown {
    name: String,
    requests: u64,
}

impl Upstreams {
    /// Starts one service for each name.
    pub fn start(scene: &Scene, client: &Client, names: &[&str]) -> Result<Self> {
        Self::start_logging(&scene.log("upstreams"), client, names)
    }

    /// As [`Upstreams::start`], with the output going to a file of the caller's choice.
    pub fn start_logging(log: &std::path::Path, client: &Client, names: &[&str]) -> Result<Self> {
        let control = Port::free()?;
        let mut services = Vec::new();
        let mut arguments = vec!["--control".to_owned(), control.address().to_string()];
        for name in names {
            let port = Port::free()?;
            arguments.extend([
                "--name".into(),
                (*name).to_owned(),
                "--listen".into(),
                port.address().to_string(),
            ]);
            services.push(((*name).to_owned(), port));
        }
        let process = Process::start("the upstreams", &artifacts::upstream()?, arguments, log)?;
        let mut upstreams = Self { process, client: client.clone(), control, services };
        wait::until("the upstreams", || {
            upstreams.process.alive()?;
            upstreams.shown().map(drop)
        })?;
        Ok(upstreams)
    }

    /// Where a service listens.
    pub fn address(&self, name: &str) -> Result<SocketAddr> {
        let found = self.services.iter().find(|(service, _)| service == name);
        Ok(found.with_context(|| format!("no upstream {name}"))?.1.address())
    }

    /// A service's port.
    pub fn port(&self, name: &str) -> Result<u16> {
        Ok(self.address(name)?.port())
    }

    /// The control port's address.
    pub fn control(&self) -> SocketAddr {
        self.control.address()
    }

    /// Requests that reached a service so far.
    pub fn requests(&self, name: &str) -> Result<u64> {
        let shown = self.shown()?;
        Ok(shown
            .iter()
            .find(|shown| shown.name == name)
            .with_context(|| format!("no upstream {name}"))?
            .requests)
    }

    /// From now on a service answers at once with this status.
    pub fn answer_with(&self, name: &str, status: u16) -> Result<()> {
        self.behave(name, &json!({ "status": status }))
    }

    /// From now on a service answers with this status, after so many milliseconds.
    pub fn answer_slowly(&self, name: &str, status: u16, delay_ms: u64) -> Result<()> {
        self.behave(name, &json!({ "status": status, "delayMs": delay_ms }))
    }

    /// From now on a service resets connections in place of answers.
    pub fn reset_connections(&self, name: &str) -> Result<()> {
        self.behave(name, &json!({ "reset": true }))
    }

    fn behave(&self, name: &str, behaviour: &serde_json::Value) -> Result<()> {
        let url = format!("http://{}/upstreams/{name}", self.control.address());
        self.client.put(&url, behaviour).map(drop)
    }

    fn shown(&self) -> Result<Vec<Shown>> {
        self.client.read(&format!("http://{}/upstreams", self.control.address()))?.json()
    }
}
