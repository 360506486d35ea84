//! `spillway apply`.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use http::Method;

use super::client::Request;
use super::files;
use super::making::Making;
use crate::api::ApplyRequest;
use crate::store::Raw;

/// Puts documents into force: those that are new are added, those that there are are replaced, all others stay. All of it happens or nothing.
///
/// Exits with 0 when it is done, 1 if the documents have errors, 2 if it could not be done. With --wait: 3 if a proxy has refused it, 4 if
/// not every proxy has accepted it in time; the documents are in force on the server in both cases.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// A file, a directory (read recursively: *.yaml and *.yml, no hidden files) or - for standard input. Can be given several times
    #[arg(short, long = "file", value_name = "FILE|DIR|-", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    making: Making,
}

impl Apply {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(texts) = self.texts()? else { return Ok(ExitCode::FAILURE) };
        let message = self.making.message().to_owned();
        let request = ApplyRequest { files: texts, delete: Vec::new(), message };
        self.making.run(Request::new(Method::POST, "apply").json(&request)?)
    }

    /// What to apply; `None` if it could not be read as text, which has been said.
    fn texts(&self) -> anyhow::Result<Option<Vec<crate::api::Text>>> {
        let mut raws = Vec::new();
        for path in &self.files {
            if path.as_os_str() == "-" {
                let mut bytes = Vec::new();
                std::io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
                raws.push(Raw { name: "standard input".into(), bytes });
            } else if let Some(more) = files::read(path)? {
                raws.extend(more);
            } else {
                return Ok(None);
            }
        }
        if raws.is_empty() {
            bail!("there are no *.yaml and *.yml files");
        }
        Ok(files::texts(raws))
    }
}
