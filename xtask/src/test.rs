//! `cargo xtask test`.

use anyhow::Result;

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(options: &Options) -> Result<()> {
    let Options {} = options;
    anyhow::bail!("not there yet")
}
