//! Where documents are kept. For now that is a directory of YAML files, which is the truth: what stands in it is in force once all of
//! it is valid.
//!
//! A store gives a [`Model`] and then every later one, whole and valid; what it can't make one of it reports, and the last good one
//! stays in force. Stores on other machines will offer the same.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::document::Diagnostic;
use crate::model::Model;

mod directory;
mod reload;
mod watcher;

use self::directory::Scan;

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

    /// Reads everything once.
    pub fn load(&self) -> Result<Model, LoadError> {
        self.scan().and_then(|scan| scan.model().map_err(LoadError::Invalid))
    }

    /// Reads everything and then everything that changes, until `stop`. The task that does so is put into `tasks`.
    ///
    /// The directory has to be valid to begin with. Later, what is not valid is logged, once, and nothing changes. Must be called from
    /// within a tokio runtime; blocks while it reads.
    pub fn watch(
        &self,
        tasks: &mut JoinSet<()>,
        stop: CancellationToken,
    ) -> Result<watch::Receiver<Arc<Model>>, LoadError> {
        // Watching starts before reading, so that no change falls between.
        let watcher = watcher::Watcher::new(&self.dir);
        let scan = self.scan()?;
        let model = scan.model().map_err(LoadError::Invalid)?;
        let (sender, receiver) = watch::channel(Arc::new(model));
        tasks.spawn(reload::run(self.clone(), watcher, scan.state(), sender, stop));
        Ok(receiver)
    }

    fn scan(&self) -> Result<Scan, LoadError> {
        directory::scan(&self.dir).map_err(|source| LoadError::Unavailable { dir: self.dir.clone(), source })
    }
}

#[cfg(test)]
mod tests;
