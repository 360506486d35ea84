//! The project's own commands, so that a fresh clone needs nothing but Rust to begin: `cargo xtask build | envoy | demo | test | bench | fuzz | mutants`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod build;
mod demo;
mod envoy;
mod fuzz;
mod module;
mod mutants;
mod process;
mod test;
mod toolchain;
mod wasm;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, runs, tests and measures Spillway")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the Wasm module and the control plane that carries it
    Build(build::Options),
    /// Find or fetch Envoy; the last line printed is its path
    Envoy,
    /// Run the demo: control plane, Envoy, upstreams and traffic, narrated
    Demo(demo::Options),
    /// Check formatting and lints, and run every test
    Test(test::Options),
    /// Measure what the project claims about its own speed
    Bench(bench::Options),
    /// Feed a parser with bytes that nobody thought of
    Fuzz(fuzz::Options),
    /// Change the code in small ways and see which changes no test notices
    Mutants(mutants::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::Build(options) => build::run(options),
        Command::Envoy => envoy::run(),
        Command::Demo(options) => demo::run(options),
        Command::Test(options) => test::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Fuzz(options) => fuzz::run(options),
        Command::Mutants(options) => mutants::run(options),
    }
}
