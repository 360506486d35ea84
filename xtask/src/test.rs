//! `cargo xtask test`: everything that must hold before a change lands.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{build, demo, envoy, process};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave out the narrated demo at the end
    #[arg(long)]
    no_demo: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let Options { no_demo } = options;
    // Cheap and likely to fail first.
    step("formatting", formatting)?;
    step("lints", lints)?;
    step("licences and sources", dependencies)?;
    let spillway = step("build", build::ensure)?;
    let envoy = step("Envoy", envoy::ensure)?;
    step("documentation tests", || {
        process::run(process::cargo().args(["test", "--quiet", "--locked", "--workspace", "--doc"]))
    })?;
    step("unit, property and end-to-end tests", || {
        process::run(tests().env("ENVOY_BIN", &envoy).env("SPILLWAY_BIN", &spillway))
    })?;
    if !no_demo {
        // Cargo has built it for the tests that end it halfway.
        step("demo", || process::run(demo::command(&spillway, &envoy).arg("--once")))?;
    }
    Ok(())
}

/// Runs one step and says how long it took, or which one failed.
fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("test: {name}");
    let started = Instant::now();
    let outcome = work().with_context(|| format!("the step \"{name}\" failed"))?;
    eprintln!("test: {name}: ok, {:.1} s", started.elapsed().as_secs_f64());
    Ok(outcome)
}

fn formatting() -> Result<()> {
    component("fmt", "rustfmt")?;
    process::run(process::cargo().args(["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    component("clippy", "clippy")?;
    process::run(process::cargo().args([
        "clippy",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// `deny.toml` is checked where cargo-deny is there; it is not installed for that, because building it takes longer than all tests.
fn dependencies() -> Result<()> {
    if !works(&["deny", "--version"]) {
        eprintln!(
            "test: cargo-deny is not installed, so deny.toml was not checked (cargo install cargo-deny --locked)"
        );
        return Ok(());
    }
    process::run(process::cargo().args(["deny", "--locked", "check", "licenses", "bans", "sources"]))
}

fn tests() -> Command {
    let mut command = process::cargo();
    if works(&["nextest", "--version"]) {
        command.args(["nextest", "run", "--locked", "--workspace", "--no-fail-fast"]);
    } else {
        command.args(["test", "--locked", "--workspace", "--all-targets", "--no-fail-fast"]);
    }
    command
}

/// Adds a component of the toolchain that minimal installations leave out.
fn component(subcommand: &str, name: &str) -> Result<()> {
    if works(&[subcommand, "--version"]) {
        return Ok(());
    }
    process::run(Command::new("rustup").args(["component", "add", name]))
        .with_context(|| format!("cargo {subcommand} is missing and rustup could not add it"))
}

fn works(arguments: &[&str]) -> bool {
    let status = process::cargo().args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
