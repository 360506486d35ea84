//! The document language: YAML text in, documents with a place for every error out.

pub mod kind;
