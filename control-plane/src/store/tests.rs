use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

mod files;

const GATEWAY: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec: {fleet: edge, listeners: [{name: web, port: 10000, protocol: HTTP}]}
";

fn backend(name: &str) -> String {
    format!(
        "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: {name}}}\nspec: {{endpoints: []}}\n"
    )
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        write(dir.path(), name, text);
    }
    dir
}

/// A store that is being watched; what it logs is kept.
struct Watched {
    models: watch::Receiver<Arc<Accepted>>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    log: Arc<Mutex<Vec<u8>>>,
    _subscriber: tracing::subscriber::DefaultGuard,
}

impl Watched {
    fn new(dir: &Path) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || Log(Arc::clone(&writer))).finish();
        let subscriber = tracing::subscriber::set_default(subscriber);
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let models = FileStore::new(dir).open(None, &mut tasks, stop.clone()).unwrap().subscribe();
        Self { models, tasks, stop, log, _subscriber: subscriber }
    }

    async fn next(&mut self) -> Arc<Model> {
        timeout(Duration::from_secs(10), self.models.changed()).await.expect("no new model came").unwrap();
        Arc::clone(&self.models.borrow_and_update().model)
    }

    async fn stays(&mut self, time: Duration) {
        assert!(
            timeout(time, self.models.changed()).await.is_err(),
            "a new model came: {:?}",
            self.models.borrow().model
        );
    }

    fn logged(&self, what: &str) -> usize {
        String::from_utf8(self.log.lock().unwrap().clone()).unwrap().matches(what).count()
    }
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn names(model: &Model) -> Vec<&str> {
    model.backends.keys().map(String::as_str).collect()
}

const SOON: Duration = Duration::from_millis(400);

#[tokio::test]
async fn an_edit_takes_effect_once() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let mut watched = Watched::new(dir.path());
    write(dir.path(), "b.yaml", &backend("b"));
    assert_eq!(names(&*watched.next().await), ["b"]);
    // The same content again is no change.
    write(dir.path(), "b.yaml", &backend("b"));
    watched.stays(SOON).await;
}

#[tokio::test]
async fn a_half_written_file_never_takes_effect() {
    let dir = directory(&[("a.yaml", &format!("{GATEWAY}---\n{}", backend("old")))]);
    let mut watched = Watched::new(dir.path());
    // Every half of it is valid, so that only the writer's closing can tell when it is complete.
    let mut file = File::create(dir.path().join("a.yaml")).unwrap();
    for part in [GATEWAY, "---\n", &backend("one"), "---\n", &backend("two")] {
        watched.stays(SOON).await;
        file.write_all(part.as_bytes()).unwrap();
    }
    watched.stays(SOON).await;
    drop(file);
    assert_eq!(names(&*watched.next().await), ["one", "two"]);
    assert_eq!(watched.logged("ERROR"), 0);
}

#[tokio::test]
async fn a_slow_writer_holds_up_other_edits_but_not_for_ever() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let mut watched = Watched::new(dir.path());
    let mut slow = File::create(dir.path().join("slow.yaml")).unwrap();
    write(dir.path(), "b.yaml", &backend("b"));
    watched.stays(SOON).await;
    slow.write_all(backend("slow").as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::time::pause();
    tokio::time::advance(watcher::WRITER_PATIENCE).await;
    tokio::time::resume();
    assert_eq!(names(&*watched.next().await), ["b", "slow"]);
}

#[tokio::test]
async fn what_is_not_valid_is_reported_once_and_changes_nothing() {
    let dir = directory(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b"))]);
    let mut watched = Watched::new(dir.path());
    let bad = backend("c").replace("endpoints", "endpoitns");
    write(dir.path(), "c.yaml", &bad);
    watched.stays(Duration::from_secs(3)).await;
    assert_eq!(watched.logged("unknown field `endpoitns`"), 1);
    for part in ["c.yaml", "line=4", "column=8", "field=spec.endpoitns", "document=Backend c"] {
        assert_eq!(watched.logged(part), 1, "{part}");
    }
    // A good change beside a bad document does not take effect either.
    write(dir.path(), "b.yaml", &backend("d"));
    watched.stays(SOON).await;
    write(dir.path(), "c.yaml", &backend("c"));
    assert_eq!(names(&*watched.next().await), ["c", "d"]);
}

#[tokio::test]
async fn taking_a_bad_edit_back_is_no_change() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let mut watched = Watched::new(dir.path());
    for _ in 0..2 {
        write(dir.path(), "a.yaml", "a: [");
        watched.stays(SOON).await;
        write(dir.path(), "a.yaml", GATEWAY);
        watched.stays(SOON).await;
    }
    assert_eq!(watched.logged("not valid YAML"), 2);
    assert_eq!(watched.logged("again what is in force"), 2);
}

#[tokio::test]
async fn deleting_a_file_takes_effect_and_emptying_the_directory_does_not() {
    let dir = directory(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b"))]);
    let mut watched = Watched::new(dir.path());
    fs::remove_file(dir.path().join("b.yaml")).unwrap();
    assert!(names(&*watched.next().await).is_empty());
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    watched.stays(SOON).await;
    assert_eq!(watched.logged("has no *.yaml"), 1);
}

#[tokio::test]
async fn editors_that_rename_and_leave_temporary_files_are_understood() {
    let dir = directory(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b"))]);
    let mut watched = Watched::new(dir.path());
    // vim: a swap file, a probe, the old file renamed away, the new one written in its place.
    write(dir.path(), ".b.yaml.swp", "a: [");
    write(dir.path(), "4913", "");
    fs::rename(dir.path().join("b.yaml"), dir.path().join("b.yaml~")).unwrap();
    write(dir.path(), "b.yaml", &backend("c"));
    assert_eq!(names(&*watched.next().await), ["c"]);
    // emacs: a lock that is a link to nowhere, what it saves by itself, and the old file beside the new one.
    symlink("ann@host.1:2", dir.path().join(".#b.yaml")).unwrap();
    write(dir.path(), "#b.yaml#", "a: [");
    watched.stays(SOON).await;
    fs::remove_file(dir.path().join(".#b.yaml")).unwrap();
    fs::remove_file(dir.path().join("#b.yaml#")).unwrap();
    // Written beside, then renamed over.
    write(dir.path(), "b.yaml.tmp", &backend("d"));
    fs::rename(dir.path().join("b.yaml.tmp"), dir.path().join("b.yaml")).unwrap();
    assert_eq!(names(&*watched.next().await), ["d"]);
    assert_eq!(watched.logged("ERROR"), 0);
}

#[tokio::test]
async fn whatever_git_does_on_its_way_it_ends_with_what_was_checked_out() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let git = |arguments: &[&str]| {
        let git =
            std::process::Command::new("git").arg("-C").arg(dir.path()).args(arguments).output().unwrap();
        assert!(git.status.success(), "{git:?}");
    };
    let commit = |branch: &str| {
        for number in 0..40 {
            write(dir.path(), &format!("{number}.yaml"), &backend(&format!("{branch}-{number:02}")));
        }
        git(&["add", "."]);
        let who = ["-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"];
        git(&[&who[..], &["commit", "--quiet", "--message", branch]].concat());
    };
    git(&["init", "--quiet", "--initial-branch", "one"]);
    commit("one");
    git(&["checkout", "--quiet", "-b", "two"]);
    commit("two");
    let mut watched = Watched::new(dir.path());
    for round in 0..6 {
        for branch in ["one", "two"] {
            git(&["checkout", "--quiet", branch]);
            tokio::time::sleep(Duration::from_millis(round * 9)).await;
        }
    }
    git(&["checkout", "--quiet", "one"]);
    let expected: Vec<_> = (0..40).map(|number| format!("one-{number:02}")).collect();
    let whole = watched.models.wait_for(|accepted| names(&accepted.model) == expected);
    drop(timeout(Duration::from_secs(20), whole).await.expect("another state stays").unwrap());
    assert_eq!(watched.logged("ERROR"), 0);
}

#[tokio::test]
async fn a_config_map_is_swapped_whole() {
    let dir = TempDir::new().unwrap();
    let version = |name: &str, backends: &str| {
        fs::create_dir(dir.path().join(name)).unwrap();
        write(&dir.path().join(name), "gateway.yaml", GATEWAY);
        write(&dir.path().join(name), "backends.yaml", backends);
    };
    version("..2025_1", &backend("one"));
    symlink("..2025_1", dir.path().join("..data")).unwrap();
    for file in ["gateway.yaml", "backends.yaml"] {
        symlink(format!("..data/{file}"), dir.path().join(file)).unwrap();
    }
    let mut watched = Watched::new(dir.path());
    assert_eq!(names(&watched.models.borrow().model), ["one"]);
    version("..2025_2", &backend("two"));
    symlink("..2025_2", dir.path().join("..data_tmp")).unwrap();
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    fs::remove_dir_all(dir.path().join("..2025_1")).unwrap();
    assert_eq!(names(&*watched.next().await), ["two"]);
    assert_eq!(watched.logged("ERROR"), 0);
}

#[tokio::test]
async fn changes_that_nobody_notifies_about_are_found() {
    let elsewhere = directory(&[("b.yaml", &backend("b"))]);
    let dir = directory(&[("a.yaml", GATEWAY)]);
    symlink(elsewhere.path().join("b.yaml"), dir.path().join("b.yaml")).unwrap();
    let mut watched = Watched::new(dir.path());
    write(elsewhere.path(), "b.yaml", &backend("c"));
    assert_eq!(names(&*watched.next().await), ["c"]);
}

#[tokio::test]
async fn another_directory_in_the_same_place_is_followed() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("documents");
    fs::create_dir(&dir).unwrap();
    write(&dir, "a.yaml", GATEWAY);
    let mut watched = Watched::new(&dir);
    fs::rename(&dir, parent.path().join("away")).unwrap();
    watched.stays(Duration::from_millis(2500)).await;
    assert_eq!(watched.logged("cannot be read"), 1);
    fs::create_dir(&dir).unwrap();
    write(&dir, "a.yaml", &format!("{GATEWAY}---\n{}", backend("b")));
    assert_eq!(names(&*watched.next().await), ["b"]);
    // The new one is watched like the old one.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    write(&dir, "a.yaml", &format!("{GATEWAY}---\n{}", backend("c")));
    assert_eq!(names(&*watched.next().await), ["c"]);
}

#[tokio::test]
async fn new_directories_are_watched() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let mut watched = Watched::new(dir.path());
    let below = dir.path().join("x/y");
    fs::create_dir_all(&below).unwrap();
    write(&below, "b.yml", &backend("b"));
    assert_eq!(names(&*watched.next().await), ["b"]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    write(&below, "b.yml", &backend("c"));
    assert_eq!(names(&*watched.next().await), ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_is_one_revision_although_the_directory_tells_of_it_too() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    let store = FileStore::new(dir.path()).open(None, &mut tasks, stop.clone()).unwrap();
    for text in [backend("b"), backend("c")] {
        let put = vec![Raw { name: "body".into(), bytes: text.into_bytes() }];
        let store = Arc::clone(&store);
        let apply = move || store.apply(Change { put, ..Change::default() });
        tokio::task::spawn_blocking(apply).await.unwrap().unwrap();
        tokio::time::sleep(SOON).await;
    }
    assert_eq!((store.latest().revision, names(&store.latest().model)), (3, vec!["b", "c"]));
    // And what is edited by hand after that is noticed as before.
    let mut newest = store.subscribe();
    write(dir.path(), "d.yaml", &backend("d"));
    timeout(Duration::from_secs(10), newest.changed()).await.unwrap().unwrap();
    let revision = store.revision(4).unwrap();
    assert_eq!((revision.origin, revision.message.as_str()), (Origin::Directory, "changed d.yaml"));
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn stopping_ends_the_task() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let mut watched = Watched::new(dir.path());
    watched.stop.cancel();
    timeout(Duration::from_secs(5), watched.tasks.join_next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_directory_that_is_not_valid_is_not_watched() {
    let dir = directory(&[("a.yaml", "a: [")]);
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    let outcome = FileStore::new(dir.path()).open(None, &mut tasks, stop.clone());
    assert!(matches!(outcome, Err(OpenError::Load(LoadError::Invalid(_)))));
    let outcome = FileStore::new(dir.path().join("none")).open(None, &mut tasks, stop);
    assert!(matches!(outcome, Err(OpenError::Load(LoadError::Unavailable { .. }))));
    assert!(tasks.is_empty());
}
