//! `spillway history`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use super::changes;
use super::client::Server;
use super::output::{self, Output, printable};
use crate::api::RevisionList;
use crate::fleet::time::rfc3339;
use crate::store::{Origin, Revision};

/// Shows the accepted changes, the newest first, or one of them field by field.
///
/// Exits with 0, 1 if there is no such revision, 2 if it could not be found out.
#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// Only this revision, with what it changed
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    revision: Option<u64>,
    /// How many to show
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.server.client()?;
        if let Some(number) = self.revision {
            let revision: Revision = client.get(&format!("revisions/{number}"))?;
            self.output.show(&revision, one)?;
        } else {
            let list: RevisionList = client.get(&format!("revisions?limit={}", self.limit))?;
            self.output.show(&list.revisions, |revisions| table(revisions))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(revisions: &[Revision]) -> String {
    let rows = revisions.iter().map(|revision| {
        [
            revision.number.to_string(),
            time(revision.time),
            revision.author.clone(),
            origin(revision.origin),
            revision.changes.len().to_string(),
            revision.message.lines().next().unwrap_or_default().to_owned(),
        ]
    });
    output::table(["REVISION", "TIME", "AUTHOR", "ORIGIN", "DOCUMENTS", "MESSAGE"], rows)
}

fn one(revision: &Revision) -> String {
    let Revision { number, time: at, author, message, origin: from, changes } = revision;
    let mut text = format!("revision {number}\n");
    for (name, value) in [("time", time(*at)), ("author", author.clone()), ("origin", origin(*from))] {
        let _ = writeln!(text, "{name:<9}{}", printable(&value));
    }
    for line in message.lines() {
        let _ = writeln!(text, "    {}", printable(line));
    }
    text + &changes::documents(changes)
}

fn time(milliseconds: u64) -> String {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).map_or_else(|| "?".to_owned(), rfc3339)
}

fn origin(origin: Origin) -> String {
    match origin {
        Origin::Start => "start".to_owned(),
        Origin::Directory => "directory".to_owned(),
        Origin::Api => "api".to_owned(),
        Origin::Rollback(to) => format!("rollback to {to}"),
    }
}
