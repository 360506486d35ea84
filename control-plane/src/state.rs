//! Files in the state directory: what must outlive this process.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file of JSON that is written whole or not at all.
#[derive(Debug)]
pub struct StateFile(PathBuf);

/// The state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Something else has written to it.
    #[error("{}: not what spillway writes there", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl StateFile {
    /// The file of that name and what it holds, nothing if there is none yet. The directory is made if it is missing, and the file is written
    /// once: a directory that can't be written is found out now, not at the first edit.
    pub fn open<T: Serialize + DeserializeOwned + Default>(
        directory: &Path,
        name: &str,
    ) -> Result<(Self, T), StateError> {
        let file = Self(directory.join(name));
        fs::create_dir_all(directory).map_err(file.io())?;
        let content = match fs::read(&file.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(file.malformed())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => T::default(),
            Err(error) => return Err(file.io()(error)),
        };
        file.write(&content)?;
        Ok((file, content))
    }

    /// Replaces what it holds.
    pub fn write(&self, content: &impl Serialize) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(content).map_err(self.malformed())?;
        let draft = self.0.with_extension("json.new");
        let mut file = fs::File::create(&draft).map_err(self.io())?;
        io::Write::write_all(&mut file, &text).map_err(self.io())?;
        file.sync_all().map_err(self.io())?;
        fs::rename(&draft, &self.0).map_err(self.io())
    }

    fn io(&self) -> impl Fn(io::Error) -> StateError {
        |source| StateError::Io { path: self.0.clone(), source }
    }

    fn malformed(&self) -> impl Fn(serde_json::Error) -> StateError {
        |source| StateError::Malformed { path: self.0.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_there_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let (file, content) = StateFile::open::<Vec<u8>>(&state, "x.json").unwrap();
        assert!(content.is_empty());
        file.write(&[1, 2]).unwrap();
        assert_eq!(StateFile::open::<Vec<u8>>(&state, "x.json").unwrap().1, [1, 2]);
    }

    #[test]
    fn a_state_directory_that_is_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("x.json"), "not JSON").unwrap();
        let error = StateFile::open::<Vec<u8>>(directory.path(), "x.json").unwrap_err().to_string();
        assert!(error.contains("x.json: not what spillway writes there"), "{error}");

        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = StateFile::open::<Vec<u8>>(&file, "x.json").unwrap_err();
        assert!(matches!(error, StateError::Io { .. }), "{error}");
    }
}
