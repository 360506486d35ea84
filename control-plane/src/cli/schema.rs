//! `spillway schema`.

use std::process::ExitCode;

/// Prints the JSON Schema of the documents.
#[derive(Debug, clap::Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("schema: under construction")
    }
}
