//! Where the programs under test are. `cargo xtask test`, `demo` and `bench` set the variables; without them the places are those
//! that `cargo xtask build` writes to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The control plane, `spillway`.
pub fn spillway() -> Result<PathBuf> {
    find("SPILLWAY_BIN", "target/release/spillway")
}

/// The upstream that fails on command.
pub fn upstream() -> Result<PathBuf> {
    find("SPILLWAY_UPSTREAM_BIN", "target/release/spillway-demo-upstream")
}

/// The filter's module.
pub fn filter() -> Result<PathBuf> {
    find("SPILLWAY_FILTER", "target/spillway_filter.wasm")
}

/// Envoy: `$ENVOY_BIN`, or else the one on PATH, or else the one that `cargo xtask envoy` has fetched.
pub fn envoy() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY_BIN").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("envoy"));
    let target = workspace().join("target");
    let fetched = fs::read_dir(target).into_iter().flatten().filter_map(|entry| {
        let folder = entry.ok()?.path();
        folder.file_name()?.to_str()?.starts_with("envoy-").then(|| folder.join("envoy/_bin/envoy"))
    });
    match installed.chain(fetched).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("no Envoy: run `cargo xtask envoy` first, or set ENVOY_BIN"),
    }
}

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

fn find(variable: &str, fallback: &str) -> Result<PathBuf> {
    let path = match std::env::var_os(variable).filter(|path| !path.is_empty()) {
        Some(path) => path.into(),
        None => workspace().join(fallback),
    };
    if !path.is_file() {
        bail!("{} is missing: run `cargo xtask build` first, or set {variable}", path.display());
    }
    Ok(path)
}
