//! `spillway delete`.

use std::process::ExitCode;

use http::Method;

use super::changes;
use super::client::{Request, Server, escaped};
use super::get;
use super::output::Output;
use super::wait::Wait;
use crate::document::kind::Kind;
use crate::store::Applied;

/// Removes a document.
///
/// Exits as apply does, and with 1 if there is no such document or others still refer to it.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Its kind, such as Route
    #[arg(value_parser = get::kind)]
    kind: Kind,
    /// Its name
    name: String,
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

impl Delete {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.server.client()?;
        let waiting = if self.dry_run { None } else { self.wait.begin(&client)? };
        let path = format!(
            "documents/{}/{}?dryRun={}&message={}",
            self.kind,
            escaped(&self.name),
            self.dry_run,
            escaped(&self.message)
        );
        let applied: Applied = client.send(Request::new(Method::DELETE, &path))?;
        self.output.show(&applied, changes::text)?;
        waiting.map_or(Ok(ExitCode::SUCCESS), |waiting| waiting.until(applied.revision))
    }
}
