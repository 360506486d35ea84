//! The system's notifications about a directory, as far as they matter.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::directory::{self, is_document};

/// How long a file that somebody still has open for writing is waited for, from the last write. Whoever stops for longer is taken to
/// be finished: not every way of writing tells when it is over.
pub(super) const WRITER_PATIENCE: Duration = Duration::from_secs(10);

/// Notifications that wait to be looked at, enough for a checkout of many files. Of more than that it is only remembered that there
/// were some.
const QUEUE: usize = 4096;

/// Watches one directory with everything in it.
pub(super) struct Watcher {
    dir: PathBuf,
    identity: Option<(u64, u64)>,
    /// Watching ends when it is dropped. `None` where the system refused.
    _inner: Option<RecommendedWatcher>,
    events: mpsc::Receiver<notify::Result<Event>>,
    /// Some notifications found no room.
    lost: Arc<AtomicBool>,
    /// Files that were written to and not closed yet, with the time of the last write.
    unfinished: HashMap<PathBuf, Instant>,
    /// What may have changed since somebody last asked; `None` if it can be anything.
    touched: Option<BTreeSet<PathBuf>>,
}

impl Watcher {
    /// Starts to watch. Where that is impossible it is logged, and only looking at the directory from time to time remains.
    pub(super) fn new(dir: &Path) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let identity = directory::identity_of(dir);
        let lost = Arc::new(AtomicBool::new(false));
        let has_lost = Arc::clone(&lost);
        let inner = notify::recommended_watcher(move |event| {
            if sender.try_send(event).is_err() {
                has_lost.store(true, Ordering::Relaxed);
            }
        })
        .and_then(|mut watcher| watcher.watch(dir, RecursiveMode::Recursive).map(|()| watcher));
        let inner = match inner {
            Ok(inner) => Some(inner),
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "no notifications about changes; looking from time to time");
                None
            }
        };
        Self {
            dir: dir.to_owned(),
            identity,
            _inner: inner,
            events,
            lost,
            unfinished: HashMap::new(),
            touched: None,
        }
    }

    /// One that is told by a test what has changed.
    #[cfg(test)]
    pub(super) fn told(dir: &Path, events: mpsc::Receiver<notify::Result<Event>>) -> Self {
        Self {
            dir: dir.to_owned(),
            identity: directory::identity_of(dir),
            _inner: None,
            events,
            lost: Arc::default(),
            unfinished: HashMap::new(),
            touched: Some(BTreeSet::new()),
        }
    }

    /// Starts anew if another directory has taken the place of the one that is watched.
    pub(super) fn follow(&mut self) {
        if directory::identity_of(&self.dir) != self.identity {
            *self = Self::new(&self.dir);
        }
    }

    /// Waits for something that may change the documents. Cancelling loses nothing.
    pub(super) async fn changed(&mut self) {
        loop {
            match self.events.recv().await {
                Some(event) => {
                    if self.note(event) {
                        return;
                    }
                }
                // Without notifications there is nothing to wait for.
                None => std::future::pending().await,
            }
        }
    }

    /// Takes in everything that has been notified so far; whether any of it may change the documents.
    pub(super) fn drain(&mut self) -> bool {
        let mut changed = false;
        while let Ok(event) = self.events.try_recv() {
            changed |= self.note(event);
        }
        changed
    }

    /// The files that were said to have changed since this was last called; `None` if something else may have as well.
    pub(super) fn take_changed(&mut self) -> Option<BTreeSet<PathBuf>> {
        self.touched.replace(BTreeSet::new())
    }

    /// When the last unfinished file will have been waited for long enough; `None` if nobody is writing.
    pub(super) fn unfinished_until(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.unfinished.retain(|path, last| *last + WRITER_PATIENCE > now && path.exists());
        self.unfinished.values().max().map(|last| *last + WRITER_PATIENCE)
    }

    /// Hidden files have no documents, but `..data` is what the links of a mounted `ConfigMap` lead through.
    fn touch(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b"..") {
            self.touched = None;
        } else if !name.starts_with(b".") {
            self.touched.as_mut().map(|touched| touched.insert(path.to_owned()));
        }
    }

    fn note(&mut self, event: notify::Result<Event>) -> bool {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "a notification was lost");
                self.touched = None;
                return true;
            }
        };
        if event.need_rescan() || self.lost.swap(false, Ordering::Relaxed) {
            // Whether writers have finished is among what was lost.
            self.unfinished.clear();
            self.touched = None;
            return true;
        }
        let writes = match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => true,
            // A link is complete when it is there; a file is written after it was created.
            EventKind::Create(CreateKind::File) => event
                .paths
                .iter()
                .any(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())),
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            // Reading opens files too, ours among others.
            EventKind::Access(_) => return false,
            _ => false,
        };
        for path in event.paths {
            self.touch(&path);
            if writes {
                if is_document(&path) {
                    self.unfinished.insert(path, Instant::now());
                }
            } else if !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_))) {
                self.unfinished.remove(&path);
            }
        }
        true
    }
}
