//! The control plane: documents in, xDS out.

#![forbid(unsafe_code)]

pub mod cli;
pub mod document;
pub mod model;
