//! The file of a history.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Edit, Record, Signature};
use crate::document::kind::Kind;
use crate::snapshot::hexadecimal;
use crate::store::accepted::Key;

const FILE: &str = "history.jsonl";

/// The history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something else has written to it.
    #[error("{}:{line}: not what spillway writes there; move the file away to begin a new history", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// Another process uses it.
    #[error("{}: another spillway uses this state directory", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// The first line.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    revision: u64,
    documents: Vec<(Kind, String, String)>,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) signature: Signature,
    pub(super) documents: Vec<(Kind, String, Option<String>)>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) revision: u64,
    pub(super) documents: Vec<(Kind, String, String)>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// How much of the file is valid. What a failed write left behind it is overwritten.
    length: u64,
    /// The length before the last line.
    before_last: u64,
    /// Held as long as the log is open. It is a file of its own because the log is replaced when it is shortened.
    _lock: File,
}

impl Log {
    /// Opens the log of a directory. What a crash cut short is dropped.
    pub(super) fn open(directory: &Path) -> Result<(Self, Content), LogError> {
        let path = directory.join(FILE);
        let io = |source| LogError::Io { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(io)?;
        let lock = File::create(directory.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse { path: path.clone() }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let (content, length) =
            parse(&bytes).map_err(|line| LogError::Malformed { path: path.clone(), line })?;
        if length < bytes.len() {
            tracing::warn!(path = %path.display(), bytes = bytes.len() - length, "the end of the history was not written completely; dropped");
        }
        let length = length as u64;
        file.set_len(length).map_err(io)?;
        let mut log = Self { path: path.clone(), file, length, before_last: length, _lock: lock };
        if length == 0 {
            let head = line(&Head::default()).map_err(io)?;
            log.write(&head).map_err(io)?;
            sync_directory(directory).map_err(io)?;
        }
        Ok((log, content))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(test)]
    pub(super) fn fail_with(&mut self, file: File) {
        self.file = file;
    }

    pub(super) fn append(&mut self, record: &Record) -> Result<(), LogError> {
        let io = |source| LogError::Io { path: self.path.clone(), source };
        let line = line(&entry(record)).map_err(io)?;
        self.write(&line).map_err(|source| LogError::Io { path: self.path.clone(), source })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // The next line goes to the same place; until then readers drop what has no end.
            let _ = self.file.set_len(self.length);
            return written;
        }
        self.before_last = self.length;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Drops the last line.
    pub(super) fn take_back(&mut self) {
        self.length = self.before_last;
        if let Err(error) = self.file.set_len(self.length).and_then(|()| self.file.sync_data()) {
            tracing::error!(path = %self.path.display(), %error, "a change that did not happen stays in the history until the next one");
        }
    }

    /// Writes the file anew and puts it in the place of the old one.
    pub(super) fn rewrite(
        &mut self,
        revision: u64,
        documents: &BTreeMap<Key, Arc<str>>,
        records: &VecDeque<Record>,
    ) -> io::Result<()> {
        let documents =
            documents.iter().map(|((kind, name), text)| (*kind, name.clone(), text.to_string())).collect();
        let mut bytes = line(&Head { revision, documents })?;
        let mut before_last = bytes.len();
        for record in records {
            before_last = bytes.len();
            bytes.extend(line(&entry(record))?);
        }
        let draft = self.path.with_extension("jsonl.new");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        (self.file, self.length, self.before_last) = (file, bytes.len() as u64, before_last as u64);
        self.path.parent().map_or(Ok(()), sync_directory)
    }
}

fn entry(record: &Record) -> Entry {
    let after = |edit: &Edit| edit.after.as_ref().map(ToString::to_string);
    let documents = record.edits.iter().map(|((kind, name), edit)| (*kind, name.clone(), after(edit)));
    Entry { number: record.number, signature: record.signature.clone(), documents: documents.collect() }
}

/// A checksum, a space, JSON without line breaks, a line break.
fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let mut line = checksum(&json).into_bytes();
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

fn checksum(json: &[u8]) -> String {
    hexadecimal(Sha256::digest(json).get(..8).unwrap_or_default())
}

/// What a file holds and how much of it is valid, or which line is not although others follow.
fn parse(bytes: &[u8]) -> Result<(Content, usize), usize> {
    let mut content = Content::default();
    let mut length = 0;
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let is_last = length + line.len() == bytes.len();
        if content.add(number == 1, line).is_none() {
            return if is_last { Ok((content, length)) } else { Err(number) };
        }
        length += line.len();
    }
    Ok((content, length))
}

impl Content {
    fn add(&mut self, is_head: bool, line: &[u8]) -> Option<()> {
        let line = line.strip_suffix(b"\n")?;
        let at = line.iter().position(|byte| *byte == b' ')?;
        let (sum, json) = (line.get(..at)?, line.get(at + 1..)?);
        if checksum(json).as_bytes() != sum {
            return None;
        }
        if is_head {
            let head: Head = serde_json::from_slice(json).ok()?;
            (self.revision, self.documents) = (head.revision, head.documents);
            return Some(());
        }
        let entry: Entry = serde_json::from_slice(json).ok()?;
        let last = self.entries.last().map_or(self.revision, |entry| entry.number);
        (entry.number == last + 1).then(|| self.entries.push(entry))
    }
}

/// Makes sure that what was created, renamed or removed in a directory outlives a crash.
pub(in crate::store) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
