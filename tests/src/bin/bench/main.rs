#![forbid(unsafe_code)]
//! Measures what the project claims about its own speed. `cargo xtask bench` builds what this needs and runs it.
//!
//! These are commands that print figures and no tests with thresholds: a figure depends on the machine, so only ratios within one
//! run, taken in turns, can be compared.

mod dataplane;
mod machine;
mod tune;
mod xds;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// CPU time of Envoy per request: without a filter, with Lua, with the native rate limit, with Spillway
    Dataplane(dataplane::Options),
    /// From the write of a changed limit to its enforcement, under load
    Tune(tune::Options),
    /// An xDS server under thousands of clients: edits, memory, connects, churn
    Xds(xds::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().bench {
        Bench::Dataplane(options) => dataplane::run(&options),
        Bench::Tune(options) => tune::run(&options),
        Bench::Xds(options) => xds::run(&options),
    }
}
