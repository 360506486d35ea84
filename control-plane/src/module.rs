//! The Wasm module that proxies load, and how they get it: by its hash, from the port they get their configuration from.

use std::path::{Path, PathBuf};
use std::{fs, io};

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::resource::extension_config::module_path;
use crate::snapshot::hexadecimal;

/// What `cargo xtask build` has put into this binary; empty after a plain `cargo build`.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spillway_filter.wasm"));

/// How every Wasm module begins.
const MAGIC: &[u8] = b"\0asm";

/// A Wasm module.
#[derive(Debug, Clone)]
pub struct FilterModule {
    bytes: Bytes,
    sha256: String,
}

/// There is no module to serve.
#[derive(Debug, thiserror::Error)]
pub enum FilterModuleError {
    /// This binary was built without one, and no file was named.
    #[error(
        "this build carries no filter module: build it with `cargo xtask build`, or name one with --filter FILE.wasm"
    )]
    None,
    /// The file can't be read.
    #[error("--filter {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file is something else.
    #[error("--filter {}: this is no Wasm module", path.display())]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
}

impl FilterModule {
    /// The module in `file`, or else the one in this binary.
    pub fn load(file: Option<&Path>) -> Result<Self, FilterModuleError> {
        let bytes = match file {
            None if EMBEDDED.is_empty() => return Err(FilterModuleError::None),
            None => Bytes::from_static(EMBEDDED),
            Some(path) => {
                let read = fs::read(path);
                read.map_err(|source| FilterModuleError::Unreadable { path: path.to_owned(), source })?.into()
            }
        };
        match file {
            Some(path) if !bytes.starts_with(MAGIC) => {
                Err(FilterModuleError::NotWasm { path: path.to_owned() })
            }
            _ => Ok(Self::new(bytes)),
        }
    }

    fn new(bytes: Bytes) -> Self {
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        Self { bytes, sha256 }
    }

    /// In hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Serves the module at its path.
    pub fn routes(&self) -> Router {
        let bytes = self.bytes.clone();
        let respond = move || async move {
            // The path names the content, so whoever has it never needs to ask again.
            (
                [(CONTENT_TYPE, "application/wasm"), (CACHE_CONTROL, "public, max-age=31536000, immutable")],
                bytes,
            )
        };
        Router::new().route(&module_path(&self.sha256), get(respond))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.wasm");
        fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
        let module = FilterModule::load(Some(&file)).unwrap();
        assert_eq!(module.sha256(), "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476");
    }

    #[test]
    fn what_is_no_module_is_refused_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.wasm");
        let error = FilterModule::load(Some(&file)).unwrap_err();
        assert!(matches!(error, FilterModuleError::Unreadable { .. }), "{error}");
        assert!(error.to_string().ends_with("a.wasm"), "{error}");
        fs::write(&file, "<html>").unwrap();
        let error = FilterModule::load(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("a.wasm: this is no Wasm module"), "{error}");
    }
}
