//! `spillway rollback`.

use std::process::ExitCode;

use http::Method;

use super::changes;
use super::client::{Request, Server};
use super::output::Output;
use super::wait::Wait;
use crate::api::RollbackRequest;
use crate::store::Applied;

/// Makes the documents what they were in an earlier revision. That is a new revision: those between stay in the history.
///
/// Exits as apply does, and with 1 if there is no such revision.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// The revision to return to: see history
    #[arg(value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    to: u64,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history
    #[arg(short, long, value_name = "MESSAGE", default_value = "", hide_default_value = true)]
    message: String,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Rollback {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.server.client()?;
        let waiting = if self.dry_run { None } else { self.wait.begin(&client)? };
        let path = if self.dry_run { "rollback?dryRun=true" } else { "rollback" };
        let request = RollbackRequest { to: self.to, message: self.message };
        let applied: Applied = client.send(Request::new(Method::POST, path).json(&request)?)?;
        self.output.show(&applied, changes::text)?;
        waiting.map_or(Ok(ExitCode::SUCCESS), |waiting| waiting.until(applied.revision))
    }
}
