//! The control plane: documents in, xDS out.

#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod bootstrap;
pub mod cache;
pub mod cli;
pub mod discovery;
pub mod dns;
pub mod document;
pub mod exposition;
pub mod fleet;
pub mod histogram;
pub mod keychain;
pub mod load;
mod looks;
pub mod model;
pub mod module;
pub mod publish;
pub mod refusal;
pub mod resource;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod stream;
pub mod subscription;
pub mod telemetry;
pub mod tls;
