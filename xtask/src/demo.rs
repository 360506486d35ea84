//! `cargo xtask demo`.

use anyhow::Result;

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(options: &Options) -> Result<()> {
    let Options {} = options;
    let spillway = crate::build::ensure()?;
    let envoy = crate::envoy::ensure()?;
    anyhow::bail!(
        "built {} and found {}, but there is nothing to show yet",
        spillway.display(),
        envoy.display()
    )
}
