//! `spillway serve`.

use std::process::ExitCode;

/// Serves xDS for a directory of documents.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("serve: under construction")
    }
}
