//! The command line. Each command is one file below; this one only tells them apart.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::client::ClientError;
use crate::api::problem::ProblemKind;

mod apply;
mod bootstrap;
mod changes;
mod check;
mod client;
mod completions;
mod delete;
mod diff;
mod explain;
mod files;
mod get;
mod history;
mod making;
mod output;
mod rollback;
mod schema;
mod serve;
mod status;
mod top;
mod wait;

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
    Explain(explain::Explain),
    Apply(apply::Apply),
    Diff(diff::Diff),
    Get(get::Get),
    Delete(delete::Delete),
    History(history::History),
    Rollback(rollback::Rollback),
    Status(status::Status),
    Top(top::Top),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

/// Runs the command that the process's arguments name.
///
/// Exit codes: 0 done, 1 the documents have errors (or what was asked for does not exist, or differs), 2 the command could not run; see
/// docs/cli.md for those that single commands add.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Bootstrap(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Apply(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Get(command) => command.run(),
        Command::Delete(command) => command.run(),
        Command::History(command) => command.run(),
        Command::Rollback(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    outcome.unwrap_or_else(|error| told(&error))
}

/// Says what went wrong, and gives the exit code that tells it.
fn told(error: &anyhow::Error) -> ExitCode {
    if let Some(ClientError::Refused(problem)) = error.downcast_ref() {
        for error in &problem.errors {
            output::print_errors(&error.rendered);
        }
        if matches!(problem.kind, ProblemKind::InvalidDocuments | ProblemKind::NotFound) {
            eprintln!("spillway: {}", problem.detail.as_deref().unwrap_or(&problem.title));
            return ExitCode::FAILURE;
        }
    }
    eprintln!("spillway: {error:#}");
    if error.is::<get::Missing>() { ExitCode::FAILURE } else { ExitCode::from(2) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn flags_of_one_command_do_not_clash() {
        super::Cli::command().debug_assert();
    }
}
