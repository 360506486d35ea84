//! The control plane, as a user runs it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use crate::artifacts;
use crate::client::Client;
use crate::ports::Port;
use crate::process::Process;
use crate::wait;

/// A running `spillway serve`.
#[derive(Debug)]
pub struct ControlPlane {
    process: Option<Process>,
    client: Client,
    documents: PathBuf,
    state: PathBuf,
    log: PathBuf,
    filter: PathBuf,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    exposed: bool,
    xds: Port,
    admin: Port,
}

impl ControlPlane {
    /// Serves a directory of documents; `folder` gets its state and its output.
    pub fn start(client: &Client, documents: &Path, folder: &Path) -> Result<Self> {
        let mut control_plane = Self {
            process: None,
            client: client.clone(),
            documents: documents.to_owned(),
            state: folder.join("state"),
            log: folder.join("spillway.log"),
            filter: artifacts::filter()?,
            flags: Vec::new(),
            variables: Vec::new(),
            exposed: false,
            xds: Port::free()?,
            admin: Port::free()?,
        };
        control_plane.restart()?;
        Ok(control_plane)
    }

    /// Starts it again, on the same ports and the same state; the old one is killed if it still runs.
    pub fn restart(&mut self) -> Result<()> {
        self.process = None;
        let admin = self.admin.address().to_string();
        let xds = if self.exposed {
            // The same address, in a form that does not count as this machine alone.
            format!("[::ffff:127.0.0.1]:{}", self.xds.number())
        } else {
            self.xds.address().to_string()
        };
        let mut command = Command::new(artifacts::spillway()?);
        command.arg("serve").arg("--config").arg(&self.documents).arg("--state").arg(&self.state);
        command.args(["--xds", &xds, "--admin", &admin]).arg("--filter").arg(&self.filter).args(&self.flags);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let mut process = Process::run("the control plane", &command, &self.log)?;
        let url = format!("http://{admin}/readyz");
        wait::until("the control plane to be ready", || {
            process.alive()?;
            self.client.read(&url).map(drop)
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts it again as if its port could be reached from other machines, without TLS.
    pub fn restart_exposed(&mut self) -> Result<()> {
        self.exposed = true;
        self.restart_with(&["--xds-insecure"])?;
        self.exposed = false;
        Ok(())
    }

    /// Starts it again with these flags added.
    pub fn restart_with(&mut self, flags: &[&str]) -> Result<()> {
        self.flags = flags.iter().map(ToString::to_string).collect();
        self.restart()
    }

    /// Starts it again with these variables in its environment.
    pub fn restart_in(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        self.variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.restart()
    }

    /// Starts it again with another build of the filter.
    pub fn restart_with_filter(&mut self, module: PathBuf) -> Result<()> {
        self.filter = module;
        self.restart()
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the control plane does not run")?.kill()
    }

    /// Its process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the control plane does not run")
    }

    /// Where proxies connect.
    pub fn xds(&self) -> SocketAddr {
        self.xds.address()
    }

    /// Its admin address.
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Runs a client command against it to its end.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let url = format!("http://{}", self.admin());
        run(&[arguments, &["--server", &url]].concat())
    }

    /// Everything that it has logged so far.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Writes the bootstrap of an Envoy of this fleet to `file`.
    pub fn bootstrap(&self, fleet: &str, envoy_admin: &Port, file: &Path, more: &[&str]) -> Result<()> {
        let (xds, admin) = (self.xds().to_string(), envoy_admin.number().to_string());
        let mut arguments = vec!["bootstrap", "--fleet", fleet, "--xds", &xds, "--admin-port", &admin];
        arguments.extend(more);
        let output = run(&arguments)?;
        ensure!(
            output.status.success(),
            "spillway {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::write(file, output.stdout).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Runs `spillway` with these arguments to its end.
pub fn run(arguments: &[&str]) -> Result<Output> {
    let program = artifacts::spillway()?;
    Command::new(&program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))
}
