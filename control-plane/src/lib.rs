//! The control plane: documents in, xDS out.

#![forbid(unsafe_code)]

pub mod bootstrap;
pub mod cli;
pub mod document;
pub mod model;
pub mod store;
