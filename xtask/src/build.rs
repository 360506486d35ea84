//! `cargo xtask build`: the module first, then the control plane that carries it.

use std::path::PathBuf;

use anyhow::Result;

use crate::process;
use crate::toolchain::Choice;
use crate::wasm;

/// What `cargo xtask build` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build only the Wasm module
    #[arg(long)]
    filter_only: bool,
    /// Where the compiler for Wasm comes from
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    wasm_toolchain: Choice,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    wasm::build(options.wasm_toolchain)?;
    if !options.filter_only {
        control_plane()?;
    }
    Ok(())
}

/// Builds everything that is shipped and gives the path of `spillway`.
pub(crate) fn ensure() -> Result<PathBuf> {
    wasm::build(Choice::Auto)?;
    control_plane()
}

fn control_plane() -> Result<PathBuf> {
    eprintln!("control plane: building with the module inside, and the demo's upstream");
    // Together with the demo's upstream, because cargo chooses the features of what both depend on for all packages of one call: built
    // apart, each would compile them anew.
    process::run(
        process::cargo()
            .args([
                "build",
                "--quiet",
                "--locked",
                "--release",
                "--package",
                "spillway",
                "--package",
                "spillway-demo",
            ])
            .env("SPILLWAY_FILTER_WASM", wasm::path()),
    )?;
    let path = process::target().join("release/spillway");
    eprintln!("control plane: {}", path.display());
    Ok(path)
}
