//! `spillway bootstrap`.

use std::process::ExitCode;

/// Prints an Envoy bootstrap.
#[derive(Debug, clap::Args)]
pub(super) struct Bootstrap {}

impl Bootstrap {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("bootstrap: under construction")
    }
}
