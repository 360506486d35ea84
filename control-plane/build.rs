//! Puts what the control plane includes where it can include it: the filter's Wasm module, and the descriptors of Envoy's types.
//!
//! `cargo xtask build` names the finished module in `SPILLWAY_FILTER_WASM`. A plain `cargo build` has none, and embeds an empty
//! file: that binary needs `serve --filter FILE`.
//!
//! The generated types know their wire format only. The names by which people see their fields come from descriptors, made here of the
//! `.proto` files that `envoy-types` brings along, which are those that its types were generated from.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Folders of messages that resources consist of, or that people put into them.
const FOLDERS: [&str; 28] = [
    "config/cluster/v3",
    "config/endpoint/v3",
    "config/listener/v3",
    "config/route/v3",
    "config/trace/v3",
    "extensions/access_loggers/file",
    "extensions/access_loggers/stream",
    "extensions/common/matching",
    "extensions/filters/common",
    "extensions/filters/http/header_mutation",
    "extensions/filters/http/router",
    "extensions/filters/http/stateful_session",
    "extensions/filters/http/wasm",
    "extensions/filters/listener/proxy_protocol",
    "extensions/filters/listener/tls_inspector",
    "extensions/filters/network/connection_limit",
    "extensions/filters/network/http_connection_manager",
    "extensions/filters/network/tcp_proxy",
    "extensions/formatter",
    "extensions/http",
    "extensions/load_balancing_policies",
    "extensions/matching",
    "extensions/path",
    "extensions/retry",
    "extensions/tracers/opentelemetry",
    "extensions/transport_sockets/tls",
    "extensions/upstreams/http",
    "extensions/wasm",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=SPILLWAY_FILTER_WASM");
    println!("cargo::rerun-if-changed=build.rs");
    // Which version of envoy-types is used stands there.
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    fs::write(out.join("spillway_filter.wasm"), module()?)?;
    fs::write(out.join("envoy.binpb"), descriptors()?)?;
    Ok(())
}

fn module() -> Result<Vec<u8>, Box<dyn Error>> {
    let Some(path) = env::var_os("SPILLWAY_FILTER_WASM").filter(|path| !path.is_empty()) else {
        return Ok(Vec::new());
    };
    let path = PathBuf::from(path);
    println!("cargo::rerun-if-changed={}", path.display());
    Ok(fs::read(path)?)
}

fn descriptors() -> Result<Vec<u8>, Box<dyn Error>> {
    let protos = package("envoy-types")?.join("proto");
    let mut includes = vec![protos.join("cel-spec/proto")];
    for entry in fs::read_dir(&protos)? {
        includes.push(entry?.path());
    }
    let root = protos.join("data-plane-api");
    let mut files = Vec::new();
    for folder in FOLDERS {
        find(&root, &root.join("envoy").join(folder), &mut files)?;
    }
    files.sort();
    let mut compiler = protox::Compiler::new(&includes)?;
    compiler.include_imports(true).include_source_info(false);
    for file in &files {
        compiler.open_file(file)?;
    }
    Ok(compiler.encode_file_descriptor_set())
}

/// The folder of a crate that this one depends on: where cargo unpacks what it fetches, or else, with vendored sources, where cargo says.
fn package(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let lock = fs::read_to_string("../Cargo.lock")?;
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    let folder = format!("{name}-{}", version.ok_or("Cargo.lock does not have it")?.trim_matches('"'));
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let fetched = registries.into_iter().flatten().flatten().map(|registry| registry.path().join(&folder));
    match fetched.into_iter().find(|folder| folder.is_dir()) {
        Some(folder) => Ok(folder),
        None => vendored(name),
    }
}

fn vendored(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let cargo = env::var_os("CARGO").ok_or("cargo did not set CARGO")?;
    let arguments = ["metadata", "--format-version", "1", "--offline", "--locked"];
    let output = Command::new(cargo).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata.get("packages").and_then(|packages| packages.as_array());
    let manifest = packages
        .ok_or("cargo metadata names no packages")?
        .iter()
        .find(|package| package.get("name").is_some_and(|other| other == name))
        .and_then(|package| package.get("manifest_path")?.as_str())
        .ok_or_else(|| format!("there is no package {name}"))?;
    Ok(Path::new(manifest).parent().ok_or("a manifest without a folder")?.to_owned())
}

fn find(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(root, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}
