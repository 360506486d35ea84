//! `cargo xtask bench`: builds in release mode and becomes the benchmark.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{build, envoy, process};

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// `dataplane` (CPU per request), `tune` (from a changed limit to its enforcement), `xds` (thousands of streams), `model` (ten thousand documents), and its own options; `--help` shows them
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some((_, criterion)) = options.arguments.split_first().filter(|(first, _)| *first == "policy") {
        // Compiled as the module is, which has these decisions in one unit with all that they call.
        let mut bench = process::cargo();
        bench.args(["bench", "--quiet", "--locked", "--package", "spillway-policy", "--bench", "decision"]);
        bench.args(["--profile", "wasm", "--target-dir"]).arg(process::target().join("wasm"));
        return process::run(bench.arg("--").args(criterion));
    }
    if options.arguments.first().is_some_and(|first| first == "model") {
        let bench = ["bench", "--quiet", "--locked", "--package", "spillway", "--bench", "model"];
        return process::run(process::cargo().args(bench));
    }
    let spillway = build::ensure()?;
    let envoy = envoy::ensure()?;
    eprintln!("bench: building");
    process::run(process::cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "spillway-tests",
        "--bin",
        "bench",
    ]))?;
    let mut bench = Command::new(process::target().join("release/bench"));
    bench
        .args(&options.arguments)
        .current_dir(process::root())
        .env("ENVOY_BIN", envoy)
        .env("SPILLWAY_BIN", spillway);
    Err(bench.exec()).context("could not start the benchmark")
}
