//! Writing several files so that either all of it happens or none, whatever ends this process.
//!
//! What is going to be written is first written to one hidden file in the directory. Once that is complete the change will happen: after a
//! crash, the next start finishes it. Files are replaced by renaming complete ones over them, so nobody ever reads a half.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::history::{Signature, sync_directory};
use crate::snapshot::hexadecimal;

const FILE: &str = ".spillway-apply";

/// What drafts of files are called, so that what a crash left behind is known.
const DRAFT: &str = ".spillway-draft-";

/// A change of files that is going to happen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// The revision that it will be.
    pub(super) revision: u64,
    pub(super) signature: Signature,
    files: Vec<Rewrite>,
}

/// One file: what stands there, as a hash, and what will.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rewrite {
    path: PathBuf,
    before: Option<String>,
    after: Option<String>,
}

/// Which file could not be written, and why.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Failed + use<'_> {
    |source| Failed { path: path.to_owned(), source }
}

/// A change whose every byte is on disk, but not yet under its name.
#[derive(Debug)]
pub(super) struct Prepared {
    journal: PathBuf,
    /// Files, what is to take their place, and what stood there.
    drafts: Vec<(PathBuf, Option<PathBuf>, Option<Vec<u8>>)>,
}

impl Journal {
    pub(super) fn new(
        revision: u64,
        signature: Signature,
        files: BTreeMap<PathBuf, Option<String>>,
    ) -> Result<Self, Failed> {
        let rewrite = |(path, after): (PathBuf, Option<String>)| {
            // What is a link stays one.
            let path = fs::canonicalize(&path).unwrap_or(path);
            let before = current(&path).map_err(failed(&path))?;
            Ok(Rewrite { before: before.as_deref().map(hash), path, after })
        };
        let files = files.into_iter().map(rewrite).collect::<Result<_, Failed>>()?;
        Ok(Self { revision, signature, files })
    }

    /// Writes everything that will be needed. If that fails nothing has happened.
    pub(super) fn prepare(&self, dir: &Path) -> Result<Prepared, Failed> {
        let journal = dir.join(FILE);
        let mut prepared = Prepared { journal: journal.clone(), drafts: Vec::new() };
        let outcome = self.write(&journal).map_err(failed(&journal)).and_then(|()| {
            for (number, Rewrite { path, after, .. }) in self.files.iter().enumerate() {
                let before = current(path).map_err(failed(path))?;
                let draft = match after {
                    Some(text) => Some(draft(path, number, text.as_bytes()).map_err(failed(path))?),
                    None => None,
                };
                prepared.drafts.push((path.clone(), draft, before));
            }
            Ok(())
        });
        match outcome {
            Ok(()) => Ok(prepared),
            Err(error) => {
                prepared.abandon();
                for (number, Rewrite { path, .. }) in self.files.iter().enumerate() {
                    drop(fs::remove_file(draft_path(path, number)));
                }
                Err(error)
            }
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_file_name(format!("{DRAFT}journal"));
        let mut file = File::create(&draft)?;
        let outcome = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .and_then(|bytes| file.write_all(&bytes))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&draft, path));
        if outcome.is_err() {
            drop(fs::remove_file(&draft));
        }
        outcome?;
        path.parent().map_or(Ok(()), sync_directory)
    }
}

impl Prepared {
    #[cfg(test)]
    pub(super) fn draft(&self, number: usize) -> Option<PathBuf> {
        self.drafts.get(number)?.1.clone()
    }

    /// Puts everything under its name. If that fails, what stood there is put back.
    pub(super) fn finish(self) -> Result<(), Failed> {
        for (at, (path, draft, _)) in self.drafts.iter().enumerate() {
            let outcome = match draft {
                Some(draft) => fs::rename(draft, path),
                None => remove(path),
            };
            if let Err(source) = outcome {
                for (number, (path, _, before)) in self.drafts.iter().enumerate().take(at) {
                    let restored = match before {
                        Some(bytes) => {
                            self::draft(path, number, bytes).and_then(|draft| fs::rename(draft, path))
                        }
                        None => remove(path),
                    };
                    if let Err(error) = restored {
                        tracing::error!(path = %path.display(), %error, "what stood there before a change that failed could not be put back");
                    }
                }
                let path = path.clone();
                self.abandon();
                return Err(Failed { path, source });
            }
        }
        for (path, ..) in &self.drafts {
            if let Some(Err(error)) = path.parent().map(sync_directory) {
                tracing::warn!(path = %path.display(), %error, "not certain to outlive a power cut");
            }
        }
        drop(fs::remove_file(&self.journal));
        Ok(())
    }

    /// Removes everything that was written.
    pub(super) fn abandon(&self) {
        for draft in self.drafts.iter().filter_map(|(_, draft, _)| draft.as_ref()) {
            drop(fs::remove_file(draft));
        }
        drop(fs::remove_file(&self.journal));
    }
}

/// Finishes what a crash interrupted, and says what that was.
pub(super) fn recover(dir: &Path) -> Result<Option<Journal>, Failed> {
    let path = dir.join(FILE);
    drop(fs::remove_file(dir.join(format!("{DRAFT}journal"))));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Failed { path, source }),
    };
    let journal: Journal = serde_json::from_slice(&bytes).map_err(io::Error::from).map_err(failed(&path))?;
    for (number, Rewrite { path, before, after }) in journal.files.iter().enumerate() {
        drop(fs::remove_file(draft_path(path, number)));
        let now = current(path).map_err(failed(path))?.as_deref().map(hash);
        if now == after.as_deref().map(|text| hash(text.as_bytes())) {
            continue;
        }
        if now != *before {
            // Somebody has edited it since; theirs is newer.
            tracing::warn!(path = %path.display(), "changed by hand after an interrupted change; left as it is");
            continue;
        }
        let outcome = match after {
            Some(text) => draft(path, number, text.as_bytes()).and_then(|draft| fs::rename(draft, path)),
            None => remove(path),
        };
        outcome.and_then(|()| path.parent().map_or(Ok(()), sync_directory)).map_err(failed(path))?;
    }
    fs::remove_file(&path).map_err(failed(&path))?;
    tracing::info!(revision = journal.revision, "finished a change that was interrupted");
    Ok(Some(journal))
}

fn draft_path(path: &Path, number: usize) -> PathBuf {
    path.with_file_name(format!("{DRAFT}{number}"))
}

/// Writes what is to take a file's place, with the file's permissions, beside it.
fn draft(path: &Path, number: usize, bytes: &[u8]) -> io::Result<PathBuf> {
    let draft = draft_path(path, number);
    let outcome = File::create(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        if let Ok(metadata) = fs::metadata(path) {
            file.set_permissions(metadata.permissions())?;
        }
        file.sync_all()
    });
    if outcome.is_err() {
        drop(fs::remove_file(&draft));
    }
    outcome.map(|()| draft)
}

fn current(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}
