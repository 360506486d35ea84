use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::document::kind::Kind;
use crate::store::Key;
use crate::store::Raw;
use crate::store::difference::Action;

mod trouble;

const GATEWAY: &str = "\
# the edge
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec: {fleet: edge, listeners: [{name: web, port: 10000, protocol: HTTP}]} # one
";

fn backend(name: &str, port: u16) -> String {
    format!(
        "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: {name}}}\nspec: {{endpoints: [{{address: 10.0.0.1, port: {port}}}]}}\n"
    )
}

/// A directory of documents and one for the state.
struct Place {
    documents: TempDir,
    state: TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { documents: TempDir::new().unwrap(), state: TempDir::new().unwrap() };
        for (name, text) in files {
            place.write(name, text);
        }
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.documents.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.documents.path().join(name)).unwrap()
    }

    fn open(&self) -> DirectoryStore {
        DirectoryStore::open(self.documents.path(), Some(self.state.path())).unwrap()
    }

    /// Everything in the directory, hidden files too.
    fn files(&self) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(self.documents.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }
}

fn put(text: &str) -> Change {
    let raw = Raw { name: "body".into(), bytes: text.as_bytes().to_vec() };
    Change { put: vec![raw], author: "ann".into(), message: "try".into(), ..Change::default() }
}

fn key(name: &str) -> Key {
    (Kind::Backend, name.to_owned())
}

#[test]
fn a_change_is_written_and_nothing_around_it() {
    let file = format!("{GATEWAY}---\n# b\n{}", backend("b", 1));
    let place = Place::new(&[("all.yaml", &file)]);
    let store = place.open();
    let applied = store.apply(put(&format!("{}---\n{}", backend("b", 2), backend("new", 3)))).unwrap();
    assert_eq!(applied.revision, 2);
    let shown: Vec<_> = applied.changes.iter().map(|change| (change.name.as_str(), change.action)).collect();
    assert_eq!(shown, [("b", Action::Changed), ("new", Action::Added)]);
    assert_eq!(applied.changes[0].fields[0].to_string(), "spec.endpoints[0].port: 1 -> 2");
    let expected = [
        ("all.yaml".to_owned(), format!("{GATEWAY}---\n# b\n{}", backend("b", 2))),
        ("backend-new.yaml".to_owned(), backend("new", 3)),
    ];
    assert_eq!(place.files(), expected);
    let latest = store.latest();
    assert_eq!(
        (latest.revision, latest.documents[&key("b")].revision, latest.model.backends.len()),
        (2, 2, 2)
    );
    assert_eq!(latest.documents[&(Kind::Gateway, "edge".to_owned())].revision, 1);
    // It is so already.
    let again = store.apply(put(&backend("b", 2))).unwrap();
    assert_eq!((again.revision, again.changes.len()), (2, 0));
}

#[test]
fn trying_writes_nothing() {
    let place = Place::new(&[("a.yaml", GATEWAY)]);
    let store = place.open();
    let before = place.files();
    let applied = store.apply(Change { dry_run: true, ..put(&backend("b", 1)) }).unwrap();
    assert_eq!((applied.revision, applied.changes.len()), (1, 1));
    assert_eq!((place.files(), store.latest().revision), (before, 1));
}

#[test]
fn what_is_not_valid_changes_nothing_and_is_shown_as_it_was_handed_in() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    let store = place.open();
    let before = place.files();
    let route = "\n\napiVersion: spillway.dev/v1\nkind: Route\nmetadata: {name: r}\nspec:\n  parentRefs: [{name: egde}]\n  rules: [{name: x, backendRefs: [{name: b}]}]\n";
    let ApplyError::Invalid(Diagnostics(errors)) = store.apply(put(route)).unwrap_err() else { panic!() };
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0].file.to_str(), errors[0].place.unwrap().line), (Some("body"), 7));
    assert!(errors[0].help.as_ref().unwrap().contains("edge"), "{:?}", errors[0]);
    // Something wrong by itself, twice the same document, and nothing at all.
    for text in ["a: [", &format!("{0}---\n{0}", backend("b", 2)), ""] {
        let error = store.apply(put(text)).unwrap_err();
        assert!(matches!(&error, ApplyError::Invalid(Diagnostics(errors)) if !errors.is_empty()), "{error}");
    }
    // A document that others need.
    store.apply(put(&route.replace("egde", "edge"))).unwrap();
    let delete = Change { delete: vec![key("b")], ..Change::default() };
    let ApplyError::Invalid(Diagnostics(errors)) = store.apply(delete).unwrap_err() else { panic!() };
    assert!(errors[0].file.ends_with("route-r.yaml"), "{errors:?}");
    assert_eq!(place.files()[..2], before[..2]);
    let missing = Change { delete: vec![key("none")], ..Change::default() };
    assert!(matches!(store.apply(missing), Err(ApplyError::NotFound { .. })));
}

#[test]
fn a_document_that_somebody_else_changed_is_a_conflict() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    let store = place.open();
    let on = |expected: u64, text: &str| Change { expected: Some(expected), ..put(text) };
    store.apply(on(1, &backend("b", 2))).unwrap();
    let error = store.apply(on(1, &backend("b", 3))).unwrap_err();
    assert!(matches!(error, ApplyError::Conflict { expected: 1, found: 2, .. }), "{error}");
    // It is about the documents that are named, not about all.
    store.apply(on(1, &backend("c", 3))).unwrap();
    assert!(matches!(store.apply(on(0, &backend("c", 4))), Err(ApplyError::Conflict { found: 3, .. })));
    store.apply(Change { delete: vec![key("c")], expected: Some(3), ..Change::default() }).unwrap();
    assert!(matches!(store.apply(on(3, &backend("c", 4))), Err(ApplyError::Conflict { found: 4, .. })));
    store.apply(on(0, &backend("c", 4))).unwrap();
}

#[test]
fn of_many_writers_at_once_each_wins_or_hears_of_a_conflict() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    let store = place.open();
    let attempt = |port: u16| {
        let expected = store.latest().documents[&key("b")].revision;
        let applied = store.apply(Change { expected: Some(expected), ..put(&backend("b", port)) })?;
        // Nothing that somebody else did was overwritten unseen.
        assert_eq!(applied.revision, expected + 1);
        Ok::<_, ApplyError>(applied)
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (2..8)
            .map(|n| scope.spawn(move || (0..5).map(|i| attempt(n * 100 + i)).collect::<Vec<_>>()))
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let won: std::collections::BTreeSet<_> =
        outcomes.iter().flatten().map(|applied| applied.revision).collect();
    assert_eq!(won.len(), outcomes.iter().flatten().count());
    assert!(outcomes.iter().all(|o| matches!(o, Ok(_) | Err(ApplyError::Conflict { .. }))), "{outcomes:?}");
    assert_eq!(store.latest().revision, 1 + won.len() as u64);
    assert_eq!(*store.latest().documents[&key("b")].text, *place.read("b.yaml"));
}

#[test]
fn going_back_is_a_new_revision() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    let store = place.open();
    store.apply(put(&backend("b", 2))).unwrap();
    store.apply(put(&backend("c", 3))).unwrap();
    let applied = store.rollback(1, "bob".into(), "back".into(), Parent::default(), false).unwrap();
    assert_eq!((applied.revision, applied.changes.len()), (4, 2));
    assert_eq!(place.files(), [("a.yaml".into(), GATEWAY.into()), ("b.yaml".into(), backend("b", 1))]);
    assert_eq!(store.model_at(3).unwrap().backends.len(), 2);
    let revision = store.revision(4).unwrap();
    assert_eq!((revision.origin, revision.author.as_str()), (Origin::Rollback(1), "bob"));
    // Forward again, after a restart.
    drop(store);
    let store = place.open();
    store.rollback(3, "bob".into(), String::new(), Parent::default(), false).unwrap();
    assert_eq!(place.read("backend-c.yaml"), backend("c", 3));
    let error =
        store.rollback(9, String::new(), String::new(), Parent::default(), false).unwrap_err().to_string();
    assert_eq!(error, "there is no revision 9: 1 to 5 are kept");
    assert!(store.rollback(0, String::new(), String::new(), Parent::default(), false).is_err());
}

#[test]
fn no_change_and_no_way_back_loses_a_comment() {
    let commented = |port| format!("# why it is there\n\n# and since when\n{}", backend("b", port));
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &commented(1))]);
    let store = place.open();
    let stored = store.latest().documents.get(&key("b")).cloned().unwrap();
    assert_eq!(*stored.text, *commented(1));
    // Who says nothing about comments leaves them, and going back does too.
    store.apply(put(&backend("b", 2))).unwrap();
    assert_eq!(place.read("b.yaml"), commented(2));
    store.rollback(1, "bob".into(), String::new(), Parent::default(), false).unwrap();
    assert_eq!(place.read("b.yaml"), commented(1));
    // What was removed comes back with them, in a file of its own.
    store.apply(Change { delete: vec![key("b")], ..Change::default() }).unwrap();
    store.rollback(1, "bob".into(), String::new(), Parent::default(), false).unwrap();
    assert_eq!(place.read("backend-b.yaml"), commented(1));
    assert_eq!(store.revision(5).unwrap().changes.len(), 1);
}

#[test]
fn what_was_edited_by_hand_meanwhile_is_a_revision_of_its_own() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    let store = place.open();
    place.write("b.yaml", &backend("b", 7));
    let applied = store.apply(put(&backend("c", 1))).unwrap();
    assert_eq!((applied.revision, applied.changes.len()), (3, 1));
    assert_eq!(store.revision(2).unwrap().origin, Origin::Directory);
    assert_eq!(store.revision(2).unwrap().message, "changed b.yaml");
    // What is not valid by hand has to be mended, by hand or by the change itself.
    place.write("b.yaml", "a: [");
    let ApplyError::Invalid(Diagnostics(errors)) = store.apply(put(&backend("c", 2))).unwrap_err() else {
        panic!()
    };
    assert!(errors[0].file.ends_with("b.yaml"));
    assert_eq!(store.latest().revision, 3);
}

#[test]
fn history_outlives_a_restart_and_notes_what_happened_meanwhile() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    let store = place.open();
    store.apply(put(&backend("b", 2))).unwrap();
    drop(store);
    let store = place.open();
    assert_eq!(store.latest().revision, 2);
    assert_eq!(store.latest().documents[&key("b")].revision, 2);
    drop(store);
    place.write("b.yaml", &backend("b", 3));
    let store = place.open();
    let revision = store.revision(3).unwrap();
    assert_eq!((revision.origin, store.latest().revision), (Origin::Directory, 3));
    assert_eq!(revision.changes[0].fields[0].to_string(), "spec.endpoints[0].port: 2 -> 3");
    // Without a state directory it begins anew.
    drop(store);
    let store = DirectoryStore::open(place.documents.path(), None).unwrap();
    assert_eq!((store.latest().revision, store.kept().file), (1, None));
}

#[test]
fn a_directory_that_is_not_to_be_written_says_why() {
    let place = Place::new(&[("a.yaml", GATEWAY)]);
    let store = place.open();
    let set = |mode| fs::set_permissions(place.documents.path(), fs::Permissions::from_mode(mode)).unwrap();
    set(0o555);
    let error = store.apply(put(&backend("b", 1))).unwrap_err();
    set(0o755);
    assert!(matches!(error, ApplyError::ReadOnly { .. }), "{error}");
    assert_eq!(place.files().len(), 1);
    symlink("nowhere", place.documents.path().join("..data")).unwrap();
    let error = store.apply(put(&backend("b", 1))).unwrap_err().to_string();
    assert!(error.contains("is a mounted ConfigMap"), "{error}");
    assert_eq!(store.latest().revision, 1);
}

#[test]
fn a_link_stays_a_link_and_permissions_stay() {
    let elsewhere = TempDir::new().unwrap();
    let target = elsewhere.path().join("b.yaml");
    fs::write(&target, backend("b", 1)).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let place = Place::new(&[("a.yaml", GATEWAY)]);
    symlink(&target, place.documents.path().join("b.yaml")).unwrap();
    let store = place.open();
    store.apply(put(&backend("b", 2))).unwrap();
    assert!(place.documents.path().join("b.yaml").symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), backend("b", 2));
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_was_read_before_a_write_is_not_believed() {
    let place = Place::new(&[("a.yaml", GATEWAY), ("b.yaml", &backend("b", 1))]);
    let store = place.open();
    let (writes, scan) = (store.writes(), store.scan().unwrap());
    store.apply(put(&backend("b", 2))).unwrap();
    assert!(matches!(store.accept(&scan, writes, Duration::ZERO), Outcome::Outdated));
    let (writes, scan) = (store.writes(), store.scan().unwrap());
    assert!(matches!(store.accept(&scan, writes, Duration::ZERO), Outcome::Same));
    assert_eq!(store.latest().revision, 2);
}

#[test]
fn a_look_at_one_file_takes_nothing_back_that_was_written_meanwhile() {
    let place = Place::new(&[
        ("a.yaml", GATEWAY),
        ("b.yaml", &backend("b", 1)),
        ("c.yaml", &backend("c", 1)),
        ("d.yaml", &backend("d", 1)),
    ]);
    let store = place.open();
    let c = BTreeSet::from([place.documents.path().join("c.yaml")]);
    let ports = || {
        let model = store.latest().model.clone();
        ["b", "c", "d"].map(|name| model.backends[name].endpoints()[0].port.get())
    };
    let edit = |port, writes| {
        place.write("c.yaml", &backend("c", port));
        let scan = store.look(Some(&c), writes).unwrap();
        store.accept(&scan, writes, Duration::ZERO)
    };
    // Only one of the files was named before the write, and all of them are looked for after it.
    place.write("c.yaml", &backend("c", 2));
    place.write("d.yaml", &backend("d", 2));
    store.apply(put(&backend("b", 2))).unwrap();
    assert_eq!(ports(), [2, 2, 2]);
    assert!(matches!(edit(3, store.writes()), Outcome::Accepted(_)));
    assert_eq!(ports(), [2, 3, 2]);
    // One that began before a write is not held on to, and neither is one before edits by hand that came with a request.
    for (d, b) in [(2, 3), (3, 3)] {
        let writes = store.writes();
        place.write("d.yaml", &backend("d", d));
        store.apply(put(&backend("b", b))).unwrap();
        assert!(matches!(edit(4, writes), Outcome::Outdated));
        assert!(matches!(edit(10 + d, store.writes()), Outcome::Accepted(_)));
        assert_eq!(ports(), [b, 10 + d, d]);
    }
}
