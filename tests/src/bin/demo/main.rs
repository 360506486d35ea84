#![forbid(unsafe_code)]
//! The narrated demo: a real Envoy with the filter in it, configured by the control plane, in front of three small services.
//!
//! Every step is observed from outside, as a client or an operator would, and says the figures that it saw. `cargo xtask demo` builds
//! what this needs and runs it.

mod narrator;
mod stage;
mod steps;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::narrator::Narrator;
use crate::stage::Stage;

/// Shows Spillway at work.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Arguments {
    /// End after the last step: 0 if every step was observed, 1 if one was not
    #[arg(long)]
    once: bool,
    /// Where Envoy accepts requests; a free port where not given
    #[arg(long)]
    port: Option<u16>,
    /// Where Envoy's admin interface is; a free port where not given
    #[arg(long)]
    admin_port: Option<u16>,
    /// Where documents and logs go; those of an earlier demo are replaced
    #[arg(long, default_value = "target/demo")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { once, port, admin_port, folder } = Arguments::parse();
    let narrator = Narrator::new();
    let mut stage = match Stage::set(&narrator, &folder, port, admin_port) {
        Ok(stage) => stage,
        Err(error) => {
            narrator.failed("setting up", &error);
            return ExitCode::FAILURE;
        }
    };
    for step in steps::ALL {
        narrator.step(step.title);
        if let Err(error) = (step.play)(&mut stage, &narrator) {
            narrator.failed(step.title, &error);
            narrator.logs(&stage);
            return ExitCode::FAILURE;
        }
    }
    if once {
        Narrator::say("\nEvery step was observed.");
        return ExitCode::SUCCESS;
    }
    match watch::stay(&mut stage, &narrator) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            narrator.failed("staying up", &error);
            ExitCode::FAILURE
        }
    }
}
