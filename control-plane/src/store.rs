//! Where documents are kept, and their history: a [`Store`]. For now that is a directory of YAML files, which is the truth: what stands
//! in it is in force once all of it is valid.
//!
//! A store gives what is [`Accepted`] and then every later state, whole and valid; what it can't make one of it reports, and the last
//! good one stays in force. Stores on other machines will offer the same.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::document::Diagnostic;
use crate::keychain::{Keychain, Reading};
use crate::model::Model;
use crate::telemetry::Parent;

pub mod accepted;
pub mod change;
mod composition;
pub mod difference;
mod directory;
pub mod figures;
mod history;
mod journal;
mod live;
mod reload;
pub mod revision;
mod rotation;
mod watcher;

pub use self::accepted::{Accepted, Key, Stored};
pub use self::change::{Applied, ApplyError, Change, Raw};
use self::directory::Files;
pub(crate) use self::directory::NONBLOCK;
pub use self::figures::Figures;
pub use self::history::LogError;
pub use self::live::DirectoryStore;
pub use self::revision::{Kept, Origin, Revision};

/// Where documents are kept. Its methods block while they read and write: call them from threads that may wait (`spawn_blocking`).
pub trait Store: Send + Sync + 'static {
    /// What is in force.
    fn latest(&self) -> Arc<Accepted>;

    /// What is in force, and every later state.
    fn subscribe(&self) -> watch::Receiver<Arc<Accepted>>;

    /// Makes a change, or says why not. When this returns, the change is kept and [`Store::latest`] has it.
    fn apply(&self, change: Change) -> Result<Applied, ApplyError>;

    /// Makes the documents what they were in an earlier revision. That is a new revision; those between remain.
    fn rollback(
        &self,
        to: u64,
        author: String,
        message: String,
        cause: Parent,
        dry_run: bool,
    ) -> Result<Applied, ApplyError>;

    /// The revisions with these numbers that are kept, the newest first.
    fn revisions(&self, numbers: RangeInclusive<u64>) -> Vec<Revision>;

    /// One revision, if it is kept.
    fn revision(&self, number: u64) -> Option<Revision> {
        self.revisions(number..=number).pop()
    }

    /// What the documents of a revision meant, if they are kept; the error is [`ApplyError::NoRevision`]. For comparing revisions.
    fn model_at(&self, revision: u64) -> Result<Arc<Model>, ApplyError>;

    /// How changes come into force.
    fn figures(&self) -> &Figures;

    /// Which revisions are kept, and where.
    fn kept(&self) -> Kept;

    /// Checks other documents on their own, and makes the model that they would make: for comparing with what is in force.
    fn check(&self, documents: &[Raw]) -> Result<Model, Diagnostics> {
        let contents = documents.iter().map(|raw| crate::document::read(&raw.name, &raw.bytes));
        Model::build(contents).map_err(Diagnostics)
    }
}

/// Why a directory gives no model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such directory, or it cannot be read.
    #[error("{}", dir.display())]
    Unavailable {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What stands in it is not valid.
    #[error(transparent)]
    Invalid(Diagnostics),
}

/// Why a directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It gives no model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] LogError),
}

/// Everything that is wrong with a set of documents, in the order of files and lines.
#[derive(Debug, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.0 {
            writeln!(f, "{diagnostic}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 error"),
            errors => write!(f, "{errors} errors"),
        }
    }
}

/// A directory of documents, read recursively: `*.yaml` and `*.yml`, no hidden files, symbolic links followed.
#[derive(Debug, Clone)]
pub struct FileStore {
    dir: PathBuf,
}

impl FileStore {
    /// Documents in `dir`. Nothing is read yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Reads everything once, but for the files that documents name.
    pub fn load(&self) -> Result<Model, LoadError> {
        self.load_with(&Keychain::default())
    }

    /// Reads everything once, and says what is wrong with the files that documents name too.
    pub fn check(&self) -> Result<Model, LoadError> {
        self.load_with(&Keychain::new(Reading::Strict))
    }

    fn load_with(&self, keychain: &Keychain) -> Result<Model, LoadError> {
        let unavailable = |source| LoadError::Unavailable { dir: self.dir.clone(), source };
        let scan = directory::scan(&self.dir, &Files::new()).map_err(unavailable)?;
        if scan.files.is_empty() {
            return Err(LoadError::Invalid(Diagnostics(vec![directory::nothing_in(&self.dir)])));
        }
        let contents = scan.files.values().map(|seen| Arc::clone(&seen.contents));
        Model::of(contents, keychain).map_err(|errors| LoadError::Invalid(Diagnostics(errors)))
    }

    /// Takes everything into force, and then everything that changes, until `stop`. The task that does so is put into `tasks`. Revisions
    /// are kept in `state`, or in memory.
    ///
    /// The directory has to be valid to begin with. Later, what is not valid is logged, once, and nothing changes. Must be called from
    /// within a tokio runtime; blocks while it reads.
    pub fn open(
        &self,
        state: Option<&Path>,
        tasks: &mut JoinSet<()>,
        stop: CancellationToken,
    ) -> Result<Arc<DirectoryStore>, OpenError> {
        // Watching starts before reading, so that no change falls between.
        let watcher = watcher::Watcher::new(&self.dir);
        let store = Arc::new(DirectoryStore::open(&self.dir, state)?);
        tasks.spawn(rotation::run(Arc::clone(&store), stop.clone()));
        tasks.spawn(reload::run(Arc::clone(&store), watcher, stop));
        Ok(store)
    }

    /// The files with documents in them, as they are.
    pub fn files(&self) -> Result<Vec<Raw>, LoadError> {
        let mut raws = Vec::new();
        let mut unread = Vec::new();
        let files = directory::bytes(&self.dir)
            .map_err(|source| LoadError::Unavailable { dir: self.dir.clone(), source })?;
        for (name, content) in files {
            match content {
                Ok(bytes) => raws.push(Raw { name, bytes }),
                Err(problem) => unread.extend(crate::document::unread(name, problem).diagnostics),
            }
        }
        if unread.is_empty() { Ok(raws) } else { Err(LoadError::Invalid(Diagnostics(unread))) }
    }
}

#[cfg(test)]
mod tests;
