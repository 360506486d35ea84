//! `spillway diff`.

use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;

use super::changes;
use super::client::{Request, Server};
use super::files;
use super::output::{Output, print_errors};
use crate::api::{DiffDocuments, DiffRequest, DiffRevisions, FleetDifference};

/// Shows what would change in the resources of each fleet, field by field.
///
/// A directory is compared as all the documents there would be; a file as documents that are added or replaced, as apply does. Exits as
/// diff(1) does: with 0 if nothing differs, 1 if something does, 2 in case of trouble, errors in the documents included.
#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// The directory (or file) with which what is in force is compared
    #[arg(value_name = "DIR|FILE", required_unless_present = "from")]
    path: Option<PathBuf>,
    /// Compare with this directory instead of a server
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Compare this revision with a later one instead
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["path", "against"], value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// The later revision; the newest where not given
    #[arg(long, value_name = "REVISION", requires = "from", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// There was trouble, which has been said.
const TROUBLE: u8 = 2;

impl Diff {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(fleets) = self.fleets()? else { return Ok(ExitCode::from(TROUBLE)) };
        self.output.show(&fleets, |fleets| changes::fleets(fleets))?;
        Ok(if fleets.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What differs; `None` if documents have errors, which have been said.
    fn fleets(&self) -> anyhow::Result<Option<Vec<FleetDifference>>> {
        let request = match (&self.path, &self.against, self.from) {
            (Some(path), Some(against), _) => {
                let models = (files::load(against)?, files::load(path)?);
                return Ok(match models {
                    (Some(before), Some(after)) => Some(crate::api::difference(&before, &after)),
                    _ => None,
                });
            }
            (Some(path), None, _) => {
                let Some(files) = files::read(path)?.and_then(files::texts) else { return Ok(None) };
                anyhow::ensure!(!files.is_empty(), "{}: there are no *.yaml and *.yml files", path.display());
                DiffRequest::Documents(DiffDocuments { files, complete: path.is_dir() })
            }
            (None, _, Some(from)) => DiffRequest::Revisions(DiffRevisions { from, to: self.to }),
            (None, _, None) => anyhow::bail!("name a directory, or revisions with --from"),
        };
        let request = Request::new(Method::POST, "diff").json(&request)?;
        match self.server.client()?.send(request) {
            Err(super::client::ClientError::Refused(problem)) if !problem.errors.is_empty() => {
                problem.errors.iter().for_each(|error| print_errors(&error.rendered));
                Ok(None)
            }
            answer => Ok(Some(answer?)),
        }
    }
}
