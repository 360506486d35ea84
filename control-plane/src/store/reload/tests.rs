//! How long changes are waited for, by a clock that the test moves.

use std::fs;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::store::{Accepted, Figures, Store};

struct Edited {
    dir: TempDir,
    events: mpsc::Sender<notify::Result<Event>>,
    accepted: watch::Receiver<Arc<Accepted>>,
    store: Arc<DirectoryStore>,
    _task: JoinHandle<()>,
}

impl Edited {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let gateway =
            "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {name: edge}\nspec: {fleet: edge}\n";
        fs::write(dir.path().join("gateway.yaml"), gateway).unwrap();
        let store = Arc::new(DirectoryStore::open(dir.path(), None).unwrap());
        let accepted = store.subscribe();
        let (events, told) = mpsc::channel(64);
        let task =
            tokio::spawn(run(Arc::clone(&store), Watcher::told(dir.path(), told), CancellationToken::new()));
        Self { dir, events, accepted, store, _task: task }
    }

    /// Writes a document, and says so.
    async fn write(&self, name: &str) {
        let backend = format!(
            "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: {name}}}\nspec: {{endpoints: []}}\n"
        );
        self.write_text(name, &backend).await;
    }

    async fn write_text(&self, name: &str, text: &str) {
        let path = self.dir.path().join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        self.events.send(Ok(Event::new(closed).add_path(path))).await.unwrap();
    }

    async fn next(&mut self) -> usize {
        self.accepted.changed().await.unwrap();
        self.accepted.borrow_and_update().documents.len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_edit_waits_at_most_twenty_milliseconds() {
    let mut edited = Edited::new();
    let written = Instant::now();
    edited.write("a").await;
    assert_eq!(edited.next().await, 2);
    let waited = written.elapsed();
    assert!((QUIET..=Duration::from_millis(20)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_edits_becomes_one() {
    let mut edited = Edited::new();
    for number in 0..40 {
        edited.write(&format!("b{number}")).await;
        sleep(Duration::from_millis(5)).await;
        assert!(!edited.accepted.has_changed().unwrap(), "after {number}");
    }
    assert_eq!(edited.next().await, 41);
    sleep(Duration::from_secs(10)).await;
    assert!(!edited.accepted.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn edits_that_never_cease_are_taken_after_half_a_second() {
    let mut edited = Edited::new();
    let written = Instant::now();
    let mut number = 0;
    while !edited.accepted.has_changed().unwrap() {
        edited.write(&format!("b{number}")).await;
        number += 1;
        sleep(Duration::from_millis(5)).await;
        assert!(written.elapsed() < 2 * MAX_WAIT, "nothing after {number}");
    }
    assert!(edited.next().await > 50);
}

#[tokio::test(start_paused = true)]
async fn how_long_changes_wait_is_counted_and_whether_they_are_refused() {
    let mut edited = Edited::new();
    let store = Arc::clone(&edited.store);
    let until = async |reached: &dyn Fn(&Figures) -> bool| {
        let reached = async {
            while !reached(store.figures()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached).await.expect("it is not noticed");
    };
    edited.write("one").await;
    edited.next().await;
    until(&|figures| figures.lag.read().count == 1).await;
    let (debounce, lag) = (store.figures().debounce.read(), store.figures().lag.read());
    assert_eq!((debounce.count, lag.count), (1, 1));
    assert!(debounce.sum >= QUIET && lag.sum >= debounce.sum, "{debounce:?} {lag:?}");

    edited.write_text("two", "kind: Nothing\n").await;
    until(&Figures::is_refused).await;
    assert_eq!(store.figures().lag.read().count, 1, "it did not come into force");
    edited.write("two").await;
    until(&|figures| !figures.is_refused()).await;
    assert_eq!(store.figures().refusals(), 1);
}
