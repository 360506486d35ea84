//! `spillway schema`.

use std::io::Write;
use std::process::ExitCode;

use crate::document::{reference, schema};

/// Prints the JSON Schema of the documents, for editors and other tools.
#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// Print the document reference as Markdown instead.
    #[arg(long)]
    markdown: bool,
}

impl Schema {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text =
            if self.markdown { reference::markdown() } else { format!("{:#}\n", schema::json_schema()) };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
