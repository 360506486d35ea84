//! What every command that changes something has in common: its flags, and how the change is asked for, shown and waited for.

use std::process::ExitCode;

use super::changes;
use super::client::{Request, Server};
use super::output::Output;
use super::wait::Wait;
use crate::store::Applied;
use crate::telemetry::Parent;

/// Flags of every command that changes something.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Making {
    /// Only check, and show what would change
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

impl Making {
    /// Why, for the history.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Sends the request for a change, shows what it did or would do, and waits for the proxies if that is wanted.
    pub(super) fn run(&self, request: Request) -> anyhow::Result<ExitCode> {
        let client = self.server.client()?;
        // Listening begins before the change, so that nothing about it is missed; a change that is only tried reaches no proxy.
        let waiting = if self.dry_run { None } else { self.wait.begin(&client)? };
        // A pipeline that is traced finds in its trace what its change has led to.
        let traceparent = std::env::var("TRACEPARENT").ok().and_then(|value| Parent::header(&value));
        let request = request.part_of(traceparent);
        let applied: Applied = client.send(request.query("dryRun", &self.dry_run.to_string()))?;
        self.output.show(&applied, changes::text)?;
        waiting.map_or(Ok(ExitCode::SUCCESS), |waiting| waiting.until(applied.revision))
    }
}
