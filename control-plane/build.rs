//! Puts the filter's Wasm module where the control plane can include it.
//!
//! `cargo xtask build` names the finished module in `SPILLWAY_FILTER_WASM`. A plain `cargo build` has none, and embeds an empty
//! file: that binary needs `serve --filter FILE`.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=SPILLWAY_FILTER_WASM");
    println!("cargo::rerun-if-changed=build.rs");
    let module = match env::var_os("SPILLWAY_FILTER_WASM").filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(path)?
        }
        None => Vec::new(),
    };
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo did not set OUT_DIR"))?;
    fs::write(PathBuf::from(out).join("spillway_filter.wasm"), module)
}
