//! `cargo xtask mutants`: changes the code in many small ways and shows which changes no test notices (cargo-mutants).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process;

const VERSION: &str = "27.1.0";

/// What is worth it where nothing is named: every decision, and the xDS state machines.
const FILES: [&str; 3] =
    ["policy/src/**/*.rs", "control-plane/src/subscription.rs", "control-plane/src/subscription/**/*.rs"];

/// What `cargo xtask mutants` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Files or globs [default: policy and control-plane/src/subscription]
    files: Vec<String>,
    /// So many builds and test runs at once
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: u32,
    /// Where copies of the sources are built and results written
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Only say which changes would be made
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let Options { files, jobs, output, list } = options;
    let files: Vec<&str> =
        if files.is_empty() { FILES.to_vec() } else { files.iter().map(String::as_str).collect() };
    let program = ensure()?;
    let output = output.clone().unwrap_or_else(|| process::target().join("mutants"));
    std::fs::create_dir_all(&output)?;
    let mut command = Command::new(program);
    command
        .current_dir(process::root())
        .args(["mutants", "--jobs", &jobs.to_string(), "--output"])
        .arg(&output);
    // The tests beside the code are the ones that have to notice; end-to-end tests would take days.
    command.args(["--test-workspace=false", "--no-shuffle", "--timeout", "120", "--profile", "mutants"]);
    // For each change only the library's tests are built, not the benchmarks.
    command.arg("--cargo-arg=--lib");
    if *list {
        command.arg("--list");
    }
    for file in files {
        command.args(["--file", file]);
    }
    // It needs a cargo for what it runs, and takes it from here.
    process::run(command.env("CARGO", process::cargo().get_program()))
}

/// cargo-mutants, installed below `target/` where it is missing.
fn ensure() -> Result<PathBuf> {
    let status =
        process::cargo().args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success())
        && let Some(installed) = process::find("cargo-mutants")
    {
        return Ok(installed);
    }
    let folder = process::target().join("tools");
    let program = folder.join("bin/cargo-mutants");
    if !program.is_file() {
        eprintln!("mutants: installing cargo-mutants into {}", folder.display());
        let mut install = process::cargo();
        install
            .args(["install", "--quiet", "--locked", "cargo-mutants", "--version", VERSION, "--root"])
            .arg(&folder);
        process::run(&mut install)?;
    }
    Ok(program)
}
