//! Processes that are killed, disks that are full.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::store::journal::Journal;

#[test]
fn an_interrupted_change_is_finished_at_the_next_start() {
    let place =
        Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1)), ("c.yaml", &backend("c", 1))]);
    drop(place.open());
    let files =
        ["b", "c"].map(|name| (place.documents.path().join(format!("{name}.yaml")), Some(backend(name, 2))));
    let who = signature("ann", "both", Origin::Api);
    let journal = Journal::new(2, who, files.into()).unwrap();
    let prepared = journal.prepare(place.documents.path()).unwrap();
    // One of the two is in place when the process ends.
    fs::rename(prepared_draft(&prepared, 0), place.documents.path().join("b.yaml")).unwrap();
    let store = place.open();
    let expected = [("a.yaml", GATEWAY.to_owned()), ("b.yaml", backend("b", 2)), ("c.yaml", backend("c", 2))];
    assert_eq!(place.files(), expected.map(|(name, text)| (name.to_owned(), text)));
    let revision = store.revision(2).unwrap();
    assert_eq!(
        (revision.author.as_str(), revision.message.as_str(), revision.changes.len()),
        ("ann", "both", 2)
    );
    assert_eq!(store.latest().revision, 2);
}

fn prepared_draft(prepared: &journal::Prepared, number: usize) -> PathBuf {
    prepared.draft(number).unwrap()
}

/// How this program runs [`child`] alone.
const CHILD: [&str; 4] = ["--exact", "store::live::tests::trouble::child", "--ignored", "--nocapture"];

/// Runs [`child`] in a process of its own, under a shell that sets limits.
fn child_process(place: &Place, what: &str, limits: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limits} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(CHILD)
        .env("SPILLWAY_TEST_DOCUMENTS", place.documents.path())
        .env("SPILLWAY_TEST_STATE", place.state.path())
        .env("SPILLWAY_TEST_WHAT", what);
    command
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn child() {
    let variable = |name: &str| std::env::var(format!("SPILLWAY_TEST_{name}")).unwrap();
    let (documents, state) = (variable("DOCUMENTS"), variable("STATE"));
    let store = DirectoryStore::open(Path::new(&documents), Some(Path::new(&state))).unwrap();
    println!("open");
    match variable("WHAT").as_str() {
        "write for ever" => {
            for port in 2.. {
                let texts = ["b", "c", "d"].map(|name| backend(name, port));
                store.apply(put(&texts.join("---\n"))).unwrap();
            }
        }
        "a large document" => {
            let text = format!("{}{}", backend("b", 2), "# comment\n".repeat(20_000).as_str());
            let text = text.replace("spec:", &format!("{}spec:", "# comment\n".repeat(20_000)));
            println!("{}", store.apply(put(&text)).unwrap_err());
            println!("then {}", store.apply(put(&backend("b", 3))).unwrap().revision);
        }
        "many revisions" => {
            for port in 2.. {
                if let Err(error) = store.apply(put(&backend("b", port))) {
                    println!("{error}");
                    println!("port {} revision {}", port - 1, store.latest().revision);
                    break;
                }
            }
        }
        "fill the disk" => fill_the_disk(Path::new(&documents), &store),
        what => panic!("{what}"),
    }
}

/// Makes the same change with ever more room for it, from none to enough.
fn fill_the_disk(documents: &Path, store: &DirectoryStore) {
    let read = |name: &str| fs::read_to_string(documents.join(format!("{name}.yaml"))).unwrap();
    let filler = documents.join("filler");
    let mut outcomes = Vec::new();
    for port in 2..40 {
        let (before, revision) = (["b", "c"].map(read), store.latest().revision);
        // All of it, but for one page more each time.
        let page = vec![0; 4096];
        let mut file = File::create(&filler).unwrap();
        let mut pages = 0;
        while file.write_all(&page).is_ok() {
            pages += 1;
        }
        file.set_len(4096_u64 * u64::saturating_sub(pages, u64::from(port) - 2)).unwrap();
        // Longer than a page each, so that any of the writes can be the one that fails.
        let long = |name: &str| format!("{}{}", "# to fill a page\n".repeat(300), backend(name, port));
        let outcome = store.apply(put(&["b", "c"].map(long).join("---\n")));
        drop(file);
        fs::remove_file(&filler).unwrap();
        match &outcome {
            Ok(applied) => {
                assert_eq!(applied.revision, revision + 1);
                assert_eq!(["b", "c"].map(read), ["b", "c"].map(long));
            }
            Err(error) => {
                assert!(error.to_string().contains("No space left on device"), "{error}");
                assert_eq!((["b", "c"].map(read), store.latest().revision), (before, revision));
            }
        }
        let names = fs::read_dir(documents).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a.yaml", "b.yaml", "c.yaml"]);
        outcomes.push(outcome.is_ok());
        // Later the history itself would fill the disk.
        if outcomes.ends_with(&[true; 3]) {
            break;
        }
    }
    let failed = outcomes.iter().take_while(|is_ok| !**is_ok).count();
    println!("failed {failed} times, then revision {}", store.latest().revision);
    assert!(outcomes.iter().skip(failed).all(|is_ok| *is_ok), "{outcomes:?}");
}

#[test]
fn killed_in_the_middle_of_a_change_all_of_it_has_happened_or_none() {
    let files = ["b", "c", "d"].map(|name| (format!("{name}.yaml"), backend(name, 1)));
    let mut files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files.push(("a.yaml", GATEWAY));
    let place = Place::new(&files);
    for round in 0..12 {
        let mut child = child_process(&place, "write for ever", "").stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(120 + round * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = place.open();
        let now = store.latest();
        let ports: Vec<_> = ["b", "c", "d"].map(|name| now.model.backends[name].endpoints()[0].port).into();
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        assert_eq!(now.documents.len(), 4);
        // Every revision is whole, by whom it was, and none is missing.
        let revisions = store.revisions(1..=now.revision);
        assert_eq!(revisions.len() as u64, now.revision);
        assert!(revisions[..revisions.len() - 1].iter().all(|r| r.author == "ann" && r.changes.len() == 3));
        assert!(place.files().iter().all(|(name, _)| !name.starts_with('.')), "{:?}", place.files());
    }
    assert!(place.open().latest().revision > 1, "nothing was ever written");
}

#[test]
fn a_disk_that_is_full_loses_nothing() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    // No file may have more than 128 KiB (units of 512 bytes), and the signal that tells so is ignored.
    let limits = "trap '' XFSZ; ulimit -f 256;";
    let output = child_process(&place, "a large document", limits).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("nothing was changed: writing ") && said.contains("File too large"), "{said}");
    assert!(said.contains("then 2"), "{said}");
    assert_eq!(place.files(), [("a.yaml".into(), GATEWAY.into()), ("b.yaml".into(), backend("b", 3))]);
    assert_eq!(place.open().latest().revision, 2);
}

/// For `unshare`: mounts that only the child sees, and the right to make them.
const NAMESPACES: [&str; 3] = ["--user", "--map-root-user", "--mount"];

/// A file system of its own, in memory and small, so that it really is full: mounted in namespaces that this process makes for a child. Most
/// systems let anybody do that; where it is forbidden, the test says so and ends, and the two with limits on files are what is left.
#[test]
fn a_file_system_without_room_loses_nothing_wherever_it_runs_out() {
    let mount = TempDir::new().unwrap();
    let attempt = format!("mount -t tmpfs tmpfs {}", mount.path().display());
    if !Command::new("unshare")
        .args(NAMESPACES)
        .args(["sh", "-c", &attempt])
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("left out: this system forbids namespaces");
        return;
    }
    let documents = mount.path().join("documents");
    // State and documents share it, as they would on a small machine.
    let script = format!(
        "set -e; mount -t tmpfs -o size=256k tmpfs {0}; mkdir {0}/documents {0}/state; cp \"$FROM\"/* {0}/documents; exec \"$0\" \"$@\"",
        mount.path().display()
    );
    let files = [("a.yaml", GATEWAY), ("b.yaml", &*backend("b", 1)), ("c.yaml", &*backend("c", 1))];
    let place = Place::new(&files);
    let output = Command::new("unshare")
        .args(NAMESPACES)
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(CHILD)
        .env("FROM", place.documents.path())
        .env("SPILLWAY_TEST_DOCUMENTS", &documents)
        .env("SPILLWAY_TEST_STATE", mount.path().join("state"))
        .env("SPILLWAY_TEST_WHAT", "fill the disk")
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    // Journal, two drafts and the history: each of them was the one that found no room.
    let failed = said.lines().find_map(|line| line.strip_prefix("failed ")?.split(' ').next()?.parse().ok());
    assert!(failed.is_some_and(|failed: usize| (4..30).contains(&failed)), "{said}");
}

#[test]
fn a_history_that_has_no_room_loses_nothing() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    let output = child_process(&place, "many revisions", "trap '' XFSZ; ulimit -f 16;").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("history.jsonl failed: File too large"), "{said}");
    let store = place.open();
    let port = store.latest().model.backends["b"].endpoints()[0].port;
    assert!(said.contains(&format!("port {port} revision {}", store.latest().revision)), "{said}");
    assert_eq!(place.files().len(), 2);
}
