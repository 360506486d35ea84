//! What somebody wants to change, what became of it, and why nothing did.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Diagnostics;
use super::difference::DocumentChange;
use crate::document::kind::Kind;
use crate::telemetry::Parent;

/// A change that somebody wants: documents that are to be as given, and documents that are to be gone. All of it happens or none.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Documents to add or to replace, as text. Each text may hold many.
    pub put: Vec<Raw>,
    /// Documents to remove.
    pub delete: Vec<(Kind, String)>,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub message: String,
    /// What it is part of.
    pub cause: Parent,
    /// The revision on which the change is based: it is refused if any document that it names was changed in a later one. 0 is "none of
    /// them exists". Without it the change happens whatever others did.
    pub expected: Option<u64>,
    /// Only check, and say what would change.
    pub dry_run: bool,
}

/// Documents as they were handed in.
#[derive(Debug, Clone)]
pub struct Raw {
    /// What errors call it: a file's name, or `body`.
    pub name: PathBuf,
    /// YAML (JSON is YAML too), one document or several.
    pub bytes: Vec<u8>,
}

/// A change that was accepted, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The revision that has it. Where nothing changed (or only was tried), the newest there is.
    pub revision: u64,
    /// What it changed, in the order of kinds and names; empty if everything was so already.
    pub changes: Vec<DocumentChange>,
    /// Nothing was written.
    pub dry_run: bool,
}

/// Why a change did not happen. Nothing of it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The documents would not be valid. Errors name the texts that were handed in where they are in those, and files of the store
    /// where they are there.
    #[error(transparent)]
    Invalid(Diagnostics),
    /// The store can be read, but not written.
    #[error("the documents are read-only: {reason}; change them where they come from")]
    ReadOnly {
        /// What shows it.
        reason: String,
    },
    /// Somebody else has changed a document since.
    #[error(
        "{kind} {name} was changed in revision {found}, after revision {expected} on which this change is based"
    )]
    Conflict {
        /// The document's kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// On what the change is based.
        expected: u64,
        /// The revision that last changed the document.
        found: u64,
    },
    /// There is no such document to delete.
    #[error("there is no {kind} {name}")]
    NotFound {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// There is no such revision (any more).
    #[error("there is no revision {number}: {kept}")]
    NoRevision {
        /// Which was asked for.
        number: u64,
        /// Which there are.
        kept: String,
    },
    /// The directory cannot be read, so nobody knows what a change would make of it.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Writing failed: the disk is full, or has gone. What stood there stands there still.
    #[error("nothing was changed: writing {} failed: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
