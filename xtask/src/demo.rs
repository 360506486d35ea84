//! `cargo xtask demo`: builds what the demo needs and becomes the demo.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{build, envoy, process};

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after the last step: 0 if every step was observed
    #[arg(long)]
    once: bool,
    /// Where Envoy accepts requests; a free port where not given
    #[arg(long)]
    port: Option<u16>,
    /// Where Envoy's admin interface is; a free port where not given
    #[arg(long)]
    admin_port: Option<u16>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let Options { once, port, admin_port } = options;
    let mut demo = ready()?;
    if *once {
        demo.arg("--once");
    }
    for (name, port) in [("--port", port), ("--admin-port", admin_port)] {
        if let Some(port) = port {
            demo.arg(name).arg(port.to_string());
        }
    }
    // The demo replaces this process, so that Ctrl-C, SIGTERM and the exit code need no messenger.
    Err(demo.exec()).context("could not start the demo")
}

/// Builds everything that the demo runs and gives its command.
fn ready() -> Result<Command> {
    let spillway = build::ensure()?;
    let envoy = envoy::ensure()?;
    eprintln!("demo: building");
    // The demo itself in the dev profile, as the tests are: it waits more than it works.
    process::run(process::cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "spillway-tests",
        "--bin",
        "demo",
    ]))?;
    Ok(command(&spillway, &envoy))
}

/// The demo that has been built, with the programs that it starts.
pub(crate) fn command(spillway: &Path, envoy: &Path) -> Command {
    let mut demo = Command::new(process::target().join("debug/demo"));
    demo.current_dir(process::root()).env("ENVOY_BIN", envoy).env("SPILLWAY_BIN", spillway);
    demo
}
