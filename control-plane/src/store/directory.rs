//! One look at a directory: which files there are, and what is in them.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Diagnostics;
use crate::document::diagnostic::Problem;
use crate::document::{self, Diagnostic, MAX_BYTES, too_large};
use crate::model::Model;

/// More entries than this are not a directory of documents, but a wrong path.
const MAX_ENTRIES: usize = 200_000;

/// How much text is read in all.
const MAX_TOTAL_BYTES: usize = 256 << 20;

/// How deep directories may nest.
const MAX_DEPTH: usize = 32;

/// How often reading starts anew because a file went away or changed meanwhile.
const MAX_ATTEMPTS: usize = 5;

/// What tells one state of a file from another without reading it. Symbolic links are followed, so that a link that points elsewhere
/// is another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files of a directory, or why one cannot be looked at.
pub(super) type Listing = BTreeMap<PathBuf, Result<Fingerprint, String>>;

/// Everything that was read in one look.
#[derive(Debug)]
pub(super) struct Scan {
    dir: PathBuf,
    listing: Listing,
    files: BTreeMap<PathBuf, Result<Vec<u8>, Problem>>,
}

/// What a later look is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Which files, and which state of each.
    pub(super) listing: Listing,
    /// Of everything that was read.
    pub(super) digest: [u8; 32],
}

impl Scan {
    /// The model that the files' documents make.
    pub(super) fn model(&self) -> Result<Model, Diagnostics> {
        if self.files.is_empty() {
            // Most likely something was unmounted, moved or not there yet. Nobody takes down a fleet by emptying a directory.
            let problem = Problem::new("the directory has no *.yaml and *.yml files");
            return Err(Diagnostics(vec![Diagnostic::of_file(&self.dir, problem)]));
        }
        let contents = self.files.iter().map(|(path, bytes)| match bytes {
            Ok(bytes) => document::read(path, bytes),
            Err(problem) => document::unread(path, problem.clone()),
        });
        Model::build(contents).map_err(Diagnostics)
    }

    pub(super) fn state(&self) -> State {
        let mut hash = Sha256::new();
        for (path, content) in &self.files {
            let path = path.as_os_str().as_encoded_bytes();
            let content = content.as_ref().map_or_else(|problem| problem.message.as_bytes(), Vec::as_slice);
            for part in [path, content] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        State { listing: self.listing.clone(), digest: hash.finalize().into() }
    }
}

/// Reads a directory. If files come, go or change meanwhile, starts again.
pub(super) fn scan(dir: &Path) -> io::Result<Scan> {
    let mut attempt = 1;
    loop {
        let listing = list(dir)?;
        let files = read(&listing);
        // What was read belongs together only if it is all still there and the same.
        if attempt == MAX_ATTEMPTS || list(dir)? == listing {
            return Ok(Scan { dir: dir.to_owned(), listing, files });
        }
        attempt += 1;
    }
}

fn read(listing: &Listing) -> BTreeMap<PathBuf, Result<Vec<u8>, Problem>> {
    let mut rest = MAX_TOTAL_BYTES;
    let files = listing.iter().map(|(path, state)| {
        let content = match state {
            Ok(_) => read_file(path),
            Err(why) => Err(Problem::new(why.clone())),
        };
        let content = content.and_then(|bytes| match rest.checked_sub(bytes.len()) {
            Some(left) => {
                rest = left;
                Ok(bytes)
            }
            None => Err(Problem::new(format!(
                "the files before have {} MiB already; more is not read",
                MAX_TOTAL_BYTES >> 20
            ))),
        });
        (path.clone(), content)
    });
    files.collect()
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: io::Error| Problem::new(format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > MAX_BYTES as u64 {
        return Err(too_large(length));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    // One byte more than is allowed, so that a file that grows meanwhile is noticed.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// The files of a directory with documents in them, and their states.
pub(super) fn list(dir: &Path) -> io::Result<Listing> {
    let mut walk = Walk { listing: Listing::new(), seen: HashSet::new(), entries: 0 };
    walk.seen.insert(identity(&fs::metadata(dir)?));
    walk.directory(dir, 0)?;
    Ok(walk.listing)
}

/// What makes the directory at a path this one and not another that took its place.
pub(super) fn identity_of(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|metadata| identity(&metadata))
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

struct Walk {
    listing: Listing,
    /// Files and directories that were met, so that what several links lead to is read once and a loop of links ends.
    seen: HashSet<(u64, u64)>,
    entries: usize,
}

impl Walk {
    fn directory(&mut self, dir: &Path, depth: usize) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name());
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(io::Error::other(format!(
                    "more than {MAX_ENTRIES} files: this is no directory of documents"
                )));
            }
        }
        names.sort_unstable();
        for name in names {
            // Hidden files are editors' and ConfigMaps' own (`..data`).
            if !name.as_encoded_bytes().starts_with(b".") {
                self.entry(dir.join(name), depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, depth: usize) -> io::Result<()> {
        let is_document = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                if !self.seen.insert(identity(&metadata)) {
                    return Ok(());
                }
                if depth >= MAX_DEPTH {
                    self.listing
                        .insert(path, Err(format!("directories nest deeper than {MAX_DEPTH} levels")));
                    return Ok(());
                }
                match self.directory(&path, depth + 1) {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        self.listing.insert(path, Err(format!("the directory cannot be read: {error}")));
                        Ok(())
                    }
                    // It went away meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    outcome => outcome,
                }
            }
            _ if !is_document => Ok(()),
            Ok(metadata) if metadata.is_file() => {
                if self.seen.insert(identity(&metadata)) {
                    self.listing.insert(path, Ok(Fingerprint::of(&metadata)));
                }
                Ok(())
            }
            // A pipe would be waited on for ever.
            Ok(_) => {
                self.listing.insert(path, Err("not a regular file".into()));
                Ok(())
            }
            // Went away since it was listed, or a link that leads nowhere.
            Err(error) => {
                if fs::symlink_metadata(&path).is_ok() {
                    self.listing.insert(path, Err(format!("cannot be read: {error}")));
                }
                Ok(())
            }
        }
    }
}
