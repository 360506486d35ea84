//! One look at a directory: which files there are, and what is in them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::ops::Bound;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::document::diagnostic::Problem;
use crate::document::{self, Contents, Diagnostic, MAX_BYTES, too_large};

/// More entries than this are not a directory of documents, but a wrong path.
const MAX_ENTRIES: usize = 200_000;

/// How much text is read in all.
const MAX_TOTAL_BYTES: usize = 256 << 20;

/// How deep directories may nest.
const MAX_DEPTH: usize = 32;

/// `O_NONBLOCK`.
#[cfg(target_os = "linux")]
pub(crate) const NONBLOCK: i32 = 0o4000;
#[cfg(not(target_os = "linux"))]
pub(crate) const NONBLOCK: i32 = 0x4;

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
pub(super) type Listing = BTreeMap<Arc<Path>, Result<Fingerprint, String>>;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Seen {
    fingerprint: Option<Fingerprint>,
    /// When it was read, by the clock that files are stamped with; 0 if that is not to be relied on.
    read_at: (i64, i64),
    /// Of its bytes, or of why they could not be read.
    pub(super) digest: [u8; 32],
    pub(super) contents: Arc<Contents>,
}

/// Files by path.
pub(super) type Files = BTreeMap<Arc<Path>, Arc<Seen>>;

/// Everything that was found in one look. What did not change is shared by the looks that found it.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) listing: Arc<Listing>,
    pub(super) files: Arc<Files>,
    /// Whether there are symbolic links: what they lead to may change under names that say nothing about documents.
    pub(super) has_links: bool,
}

/// How far a file's time stamp has to lie back for a later change to be certain to give it another one: file systems count time in
/// steps of a few milliseconds.
const STAMP_STEP: i64 = 50_000_000;

impl Seen {
    pub(super) fn new(path: &Path, bytes: &[u8]) -> Self {
        Self {
            fingerprint: None,
            read_at: (0, 0),
            digest: Sha256::digest(bytes).into(),
            contents: Arc::new(document::read(path, bytes)),
        }
    }

    fn unread(path: &Path, problem: Problem) -> Self {
        let digest = Sha256::digest(&problem.message).into();
        let contents = Arc::new(document::unread(path, problem));
        Self { fingerprint: None, read_at: (0, 0), digest, contents }
    }

    /// Whether a file with this fingerprint is certainly the one that was read.
    fn is(&self, fingerprint: &Fingerprint) -> bool {
        let (seconds, nanos) = self.read_at;
        let (changed, changed_nanos) = fingerprint.changed;
        let age = seconds.saturating_sub(changed).saturating_mul(1_000_000_000) + (nanos - changed_nanos);
        self.fingerprint.as_ref() == Some(fingerprint) && age > STAMP_STEP
    }
}

impl Scan {
    /// One number for all that was read.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (path, seen) in &*self.files {
            let path = path.as_os_str().as_encoded_bytes();
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update(seen.digest);
        }
        hash.finalize().into()
    }
}

/// Why nothing is in force although a directory could be read.
pub(super) fn nothing_in(dir: &Path) -> Diagnostic {
    // Most likely something was unmounted, moved or not there yet. Nobody takes down a fleet by emptying a directory.
    Diagnostic::of_file(dir, Problem::new("the directory has no *.yaml and *.yml files"))
}

/// Reads a directory. If files come, go or change meanwhile, starts again. Of `known` files those that have not changed are not read.
pub(super) fn scan(dir: &Path, known: &Files) -> io::Result<Scan> {
    let mut attempt = 1;
    loop {
        let Walk { found, has_links, .. } = walk(dir)?;
        let listing = Listing::from_iter(found);
        let files = read(&listing, known);
        // What was read belongs together only if it is all still there and the same.
        if attempt == MAX_ATTEMPTS || list(dir)? == listing {
            return Ok(Scan { listing: Arc::new(listing), files: Arc::new(files), has_links });
        }
        attempt += 1;
    }
}

/// Looks only at some paths of which it is known that nothing else has changed. `None` if it takes a look at everything: a file is new
/// or gone, or is not simply a file.
pub(super) fn glance(last: &Scan, paths: &BTreeSet<PathBuf>) -> Option<Scan> {
    let mut scan = last.clone();
    let look = |path: &Path| {
        let metadata = fs::symlink_metadata(path).ok().filter(|m| m.is_file() && m.nlink() == 1)?;
        Some(Fingerprint::of(&metadata))
    };
    let (documents, others): (Vec<_>, Vec<_>) = paths.iter().partition(|path| is_document(path));
    if !others.into_iter().all(|path| says_nothing(&scan, path)) {
        return None;
    }
    for path in &documents {
        // It has to have been there, and as a file with one name.
        scan.listing.get(path.as_path())?.as_ref().ok()?;
        let fingerprint = look(path)?;
        let seen = read_one(path, fingerprint);
        let path: Arc<Path> = Arc::from(path.as_path());
        Arc::make_mut(&mut scan.listing).insert(Arc::clone(&path), Ok(fingerprint));
        Arc::make_mut(&mut scan.files).insert(path, Arc::new(seen));
    }
    let size: u64 = scan.listing.values().flatten().map(|fingerprint| fingerprint.length).sum();
    let unchanged = |path: &&PathBuf| {
        scan.listing.get(path.as_path()).is_some_and(|known| known.as_ref().ok() == look(path).as_ref())
    };
    (size <= MAX_TOTAL_BYTES as u64 && documents.iter().all(unchanged)).then_some(scan)
}

/// Whether what happens to a path that is no document's can't matter to any: it is a plain file, such as editors leave for a moment, or gone, and it was not where
/// documents are.
fn says_nothing(scan: &Scan, path: &Path) -> bool {
    if scan.has_links {
        return false;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.is_file() && metadata.nlink() == 1,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let next = scan.listing.range::<Path, _>((Bound::Included(path), Bound::Unbounded)).next();
            next.is_none_or(|(next, _)| !next.starts_with(path))
        }
        Err(_) => false,
    }
}

/// Whether documents are looked for in files of this name.
pub(super) fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn read(listing: &Listing, known: &Files) -> Files {
    let mut rest = MAX_TOTAL_BYTES as u64;
    // Both are in the order of paths, which take long to compare: each is looked at once.
    let mut known = known.iter().peekable();
    let files = listing.iter().map(|(path, state)| {
        while known.next_if(|(other, _)| *other < path).is_some() {}
        let known = known.next_if(|(other, _)| *other == path);
        let seen = match state {
            Ok(fingerprint) => match rest.checked_sub(fingerprint.length.min(MAX_BYTES as u64)) {
                Some(left) => {
                    rest = left;
                    let seen = known.map(|(_, seen)| seen).filter(|seen| seen.is(fingerprint));
                    seen.map_or_else(|| Arc::new(read_one(path, *fingerprint)), Arc::clone)
                }
                None => Arc::new(Seen::unread(
                    path,
                    Problem::new(format!(
                        "the files before have {} MiB already; more is not read",
                        MAX_TOTAL_BYTES >> 20
                    )),
                )),
            },
            Err(why) => Arc::new(Seen::unread(path, Problem::new(why.clone()))),
        };
        (Arc::clone(path), seen)
    });
    files.collect()
}

fn read_one(path: &Path, fingerprint: Fingerprint) -> Seen {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    let seen = match read_file(path) {
        Ok(bytes) => Seen::new(path, &bytes),
        Err(problem) => return Seen::unread(path, problem),
    };
    Seen { fingerprint: Some(fingerprint), read_at: (seconds, now.subsec_nanos().into()), ..seen }
}

/// The bytes of every file.
pub(super) fn bytes(dir: &Path) -> io::Result<BTreeMap<PathBuf, Result<Vec<u8>, Problem>>> {
    let files = list(dir)?.into_iter().map(|(path, state)| {
        let bytes = state.map_err(Problem::new).and_then(|_| read_file(&path));
        (path.to_path_buf(), bytes)
    });
    Ok(files.collect())
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: io::Error| Problem::new(format!("cannot be read: {error}"));
    // What was a file when it was listed may be a pipe by now, and opening must not wait for whoever fills it.
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Problem::new("not a regular file"));
    }
    let length = metadata.len();
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
    Ok(walk(dir)?.found.into_iter().collect())
}

fn walk(dir: &Path) -> io::Result<Walk> {
    let mut walk = Walk { found: Vec::new(), has_links: false, seen: HashSet::new(), entries: 0 };
    walk.seen.insert(identity(&fs::metadata(dir)?));
    walk.directory(dir, 0)?;
    Ok(walk)
}

/// What makes the directory at a path this one and not another that took its place.
pub(super) fn identity_of(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|metadata| identity(&metadata))
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

struct Walk {
    /// In the order of paths.
    found: Vec<(Arc<Path>, Result<Fingerprint, String>)>,
    has_links: bool,
    /// Files and directories that were met, so that what several links lead to is read once and a loop of links ends.
    seen: HashSet<(u64, u64)>,
    entries: usize,
}

impl Walk {
    fn directory(&mut self, dir: &Path, depth: usize) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            self.has_links |= entry.file_type().is_ok_and(|kind| kind.is_symlink());
            names.push(entry.file_name());
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
        let is_document = is_document(&path);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                if !self.seen.insert(identity(&metadata)) {
                    return Ok(());
                }
                if depth >= MAX_DEPTH {
                    let why = format!("directories nest deeper than {MAX_DEPTH} levels");
                    self.found.push((path.into(), Err(why)));
                    return Ok(());
                }
                match self.directory(&path, depth + 1) {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        self.found.push((path.into(), Err(format!("the directory cannot be read: {error}"))));
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
                    self.found.push((path.into(), Ok(Fingerprint::of(&metadata))));
                }
                Ok(())
            }
            // A pipe would be waited on for ever.
            Ok(_) => {
                self.found.push((path.into(), Err("not a regular file".into())));
                Ok(())
            }
            // Went away since it was listed, or a link that leads nowhere.
            Err(error) => {
                if fs::symlink_metadata(&path).is_ok() {
                    self.found.push((path.into(), Err(format!("cannot be read: {error}"))));
                }
                Ok(())
            }
        }
    }
}
