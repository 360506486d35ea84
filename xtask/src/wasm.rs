//! Building the filter's Wasm module.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::module;
use crate::process;
use crate::toolchain::{Choice, TARGET, Toolchain};

/// Where the module is shipped from.
pub(crate) fn path() -> PathBuf {
    process::target().join("spillway_filter.wasm")
}

/// Builds the module and gives its path.
pub(crate) fn build(choice: Choice) -> Result<PathBuf> {
    let toolchain = Toolchain::ensure(choice)?;
    // A target folder of its own: two compilers would otherwise throw away each other's work.
    let folder = process::target().join(match toolchain {
        Toolchain::Installed => "wasm",
        Toolchain::Debian(_) => "wasm-debian",
    });
    let mut command = toolchain.cargo_build()?;
    command
        .args([
            "--quiet",
            "--locked",
            "--package",
            "spillway-filter",
            "--lib",
            "--profile",
            "wasm",
            "--target-dir",
        ])
        .arg(&folder);
    without_machine_paths(&mut command);
    process::run(&mut command)?;
    let compiled = folder.join(TARGET).join("wasm/spillway_filter.wasm");
    let shipped = path();
    module::finish(&compiled, &shipped)?;
    Ok(shipped)
}

/// Panic messages carry the paths of sources: they should name the file, not the machine that it was compiled on.
fn without_machine_paths(command: &mut Command) {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    // Where two fit, the later one counts.
    let library = process::target().join("wasm-toolchain/usr/lib/rustlib/src/rust");
    let places = [(home.join("registry/src"), "crates"), (process::root(), "spillway"), (library, "rust")];
    let flags: Vec<String> = places
        .iter()
        .filter_map(|(from, to)| Some(format!("--remap-path-prefix={}={to}", Path::to_str(from)?)))
        .collect();
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
}
