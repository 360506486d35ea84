//! `spillway rollback`.

use std::process::ExitCode;

use http::Method;

use super::client::Request;
use super::making::Making;
use crate::api::RollbackRequest;

/// Makes the documents what they were in an earlier revision. That is a new revision: those between stay in the history.
///
/// Exits as apply does, and with 1 if there is no such revision.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// The revision to return to: see history
    #[arg(value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    to: u64,
    #[command(flatten)]
    making: Making,
}

impl Rollback {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let request = RollbackRequest { to: self.to, message: self.making.message().to_owned() };
        self.making.run(Request::new(Method::POST, "rollback").json(&request)?)
    }
}
