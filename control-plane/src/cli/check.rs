//! `spillway check`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::print_errors;
use crate::document::kind::Kind;
use crate::model::Model;
use crate::store::{Diagnostics, FileStore, LoadError};

/// Checks every document of a directory and shows every error with its place.
///
/// Exits with 0 if all are valid, 1 if any has an error, 2 if the directory cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The directory, read recursively: *.yaml and *.yml, no hidden files.
    dir: PathBuf,

    /// How to show the result: text (errors on standard error) or json (all on standard output).
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let outcome = match FileStore::new(&self.dir).check() {
            Ok(model) => Ok(model),
            Err(LoadError::Invalid(diagnostics)) => Err(diagnostics),
            Err(error @ LoadError::Unavailable { .. }) => return Err(error.into()),
        };
        match (self.output, &outcome) {
            (Output::Json, outcome) => writeln!(std::io::stdout(), "{:#}", json(outcome))?,
            (Output::Text, Ok(model)) => {
                writeln!(std::io::stdout(), "{}: {}", self.dir.display(), summary(model))?;
            }
            (Output::Text, Err(diagnostics)) => print_errors(diagnostics),
        }
        Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn counts(model: &Model) -> [(Kind, usize); 5] {
    Kind::ALL.map(|kind| {
        let count = match kind {
            Kind::Gateway => model.gateways.len(),
            Kind::Route => model.routes.len(),
            Kind::Backend => model.backends.len(),
            Kind::TrafficPolicy => model.policies.len(),
            Kind::Certificate => model.certificates.len(),
        };
        (kind, count)
    })
}

fn summary(model: &Model) -> String {
    let counts = counts(model).map(|(kind, count)| format!("{count} {kind}"));
    format!("valid ({})", counts.join(", "))
}

fn json(outcome: &Result<Model, Diagnostics>) -> Value {
    match outcome {
        Ok(model) => {
            let counts: serde_json::Map<_, _> = counts(model)
                .into_iter()
                .map(|(kind, count)| (kind.name().to_owned(), count.into()))
                .collect();
            json!({ "valid": true, "documents": counts, "errors": [] })
        }
        Err(Diagnostics(errors)) => json!({ "valid": false, "errors": errors }),
    }
}
