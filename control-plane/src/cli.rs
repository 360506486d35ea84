//! The command line. Each command is one file below; this one only tells them apart.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bootstrap;
mod check;
mod schema;
mod serve;

/// Traffic protection for fleets of Envoy proxies.
#[derive(Debug, Parser)]
#[command(name = "spillway", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    Bootstrap(bootstrap::Bootstrap),
    Schema(schema::Schema),
}

/// Runs the command that the process's arguments name.
///
/// Exit codes: 0 done, 1 the documents have errors, 2 the command could not run.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Bootstrap(command) => command.run(),
        Command::Schema(command) => command.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("spillway: {error:#}");
        ExitCode::from(2)
    })
}
