//! Writes `control-plane/src/resource/envoy.binpb`: the descriptors of the types that resources are made of, from the `.proto` files that
//! the crate `envoy-types` brings along. From the repository's root:
//!
//! ```text
//! cargo run --manifest-path control-plane/descriptors/Cargo.toml -- <envoy-types>/proto control-plane/src/resource/envoy.binpb
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of messages that resources consist of, or that people put into them.
const FOLDERS: [&str; 25] = [
    "config/cluster/v3",
    "config/endpoint/v3",
    "config/listener/v3",
    "config/route/v3",
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
    "extensions/filters/network/http_connection_manager",
    "extensions/filters/network/tcp_proxy",
    "extensions/formatter",
    "extensions/http",
    "extensions/load_balancing_policies",
    "extensions/matching",
    "extensions/path",
    "extensions/retry",
    "extensions/transport_sockets/tls",
    "extensions/upstreams/http",
    "extensions/wasm",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(protos), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("expected: <envoy-types>/proto OUTPUT".into());
    };
    let protos = PathBuf::from(protos);
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
    fs::write(output, compiler.encode_file_descriptor_set())?;
    Ok(())
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
