//! `spillway check`.

use std::process::ExitCode;

/// Checks every document of a directory.
#[derive(Debug, clap::Args)]
pub(super) struct Check {}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("check: under construction")
    }
}
