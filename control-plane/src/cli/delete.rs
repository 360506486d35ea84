//! `spillway delete`.

use std::process::ExitCode;

use http::Method;

use super::client::{Request, escaped};
use super::get;
use super::making::Making;
use crate::document::kind::Kind;

/// Removes a document.
///
/// Exits as apply does, and with 1 if there is no such document or others still refer to it.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Its kind, such as Route
    #[arg(value_parser = get::kind)]
    kind: Kind,
    /// Its name
    name: String,
    #[command(flatten)]
    making: Making,
}

impl Delete {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let path = format!("documents/{}/{}", self.kind, escaped(&self.name));
        self.making.run(Request::new(Method::DELETE, path).query("message", self.making.message()))
    }
}
