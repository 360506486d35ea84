use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::document::kind::Kind;
use crate::keychain::authority::Authority;
use crate::store::{ApplyError, Raw, Store};
use crate::telemetry::Parent;

const CERTIFICATE: &str = "\
apiVersion: spillway.dev/v1
kind: Certificate
metadata: {name: edge}
spec: {certFile: keys/tls.crt, keyFile: keys/tls.key}
";

const GATEWAY: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec: {fleet: edge, listeners: [{name: web, port: 443, protocol: HTTPS, tls: {certificateRefs: [edge]}}]}
";

/// Documents with one certificate.
struct Site(TempDir, Authority);

impl Site {
    fn new() -> Self {
        let site = Self(TempDir::new().unwrap(), Authority::new());
        fs::create_dir(site.keys()).unwrap();
        site.1.issue("first.example").write(&site.keys(), "tls");
        site.write("gateway.yaml", GATEWAY);
        site.write("certificate.yaml", CERTIFICATE);
        site
    }

    fn keys(&self) -> std::path::PathBuf {
        self.0.path().join("keys")
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn open(&self) -> DirectoryStore {
        DirectoryStore::open(self.path(), None).unwrap()
    }
}

fn chain(store: &DirectoryStore, name: &str) -> String {
    let model = Arc::clone(&store.latest().model);
    let material = model.certificates[name].material.clone();
    material.unwrap().pair.clone().unwrap().chain
}

fn put(store: &DirectoryStore, text: &str) -> Result<u64, ApplyError> {
    let raw = Raw { name: "body".into(), bytes: text.as_bytes().to_vec() };
    let change = crate::store::Change { put: vec![raw], ..crate::store::Change::default() };
    store.apply(change).map(|applied| applied.revision)
}

#[test]
fn a_certificate_is_told_to_expire_two_weeks_before_it_does() {
    let day = 24 * 60 * 60;
    assert_eq!(age(15 * day, 0), Age::Young);
    assert_eq!(age(13 * day, 0), Age::Expiring);
    assert_eq!(age(day, day), Age::Expiring);
    assert_eq!(age(day, day + 1), Age::Expired);
}

#[test]
fn replaced_files_are_in_force_without_a_revision() {
    let site = Site::new();
    let store = site.open();
    let mut newest = store.subscribe();
    newest.mark_unchanged();
    let (revision, first) = (store.latest().revision, chain(&store, "edge"));
    assert!(store.rotate().changes.is_empty() && !newest.has_changed().unwrap());
    let second = site.1.issue("second.example");
    second.write(&site.keys(), "tls");
    assert_eq!(store.rotate().changes.len(), 1);
    assert!(newest.has_changed().unwrap());
    assert_ne!(chain(&store, "edge"), first);
    assert_eq!(store.latest().revision, revision);
    assert_eq!(store.revisions(1..=u64::MAX).len(), 1);
    // An edit of another document keeps what is in force, even while the files are broken.
    fs::write(site.keys().join("tls.key"), "broken").unwrap();
    put(&store, &GATEWAY.replace("443", "444")).unwrap();
    assert_eq!(chain(&store, "edge"), second.certificate.replace("\r\n", "\n"));
}

#[test]
fn a_document_that_names_bad_files_is_refused_whole_with_its_place() {
    let site = Site::new();
    let store = site.open();
    let other = CERTIFICATE.replace("name: edge", "name: other").replace("tls.key", "none.key");
    let Err(ApplyError::Invalid(errors)) = put(&store, &other) else { panic!("accepted") };
    let [error] = errors.0.as_slice() else { panic!("{errors}") };
    assert_eq!((error.document.as_str(), error.field.as_str()), ("Certificate other", "spec.keyFile"));
    assert!(error.message.contains("keys/none.key cannot be read: No such file"), "{error}");
    assert!(error.place.is_some_and(|place| place.line == 4));
    assert!(!store.latest().model.certificates.contains_key("other"));
    // The same once the file is there: relative to the directory of the documents.
    fs::copy(site.keys().join("tls.key"), site.keys().join("none.key")).unwrap();
    put(&store, &other).unwrap();
    assert_eq!(chain(&store, "other"), chain(&store, "edge"));
}

#[test]
fn an_expired_certificate_is_refused_in_a_document_and_survives_a_restart() {
    let site = Site::new();
    let store = site.open();
    site.1.issue_for("old.example", -9, -2).write(&site.keys(), "old");
    let other = CERTIFICATE.replace("name: edge", "name: other").replace("/tls.", "/old.");
    let Err(ApplyError::Invalid(errors)) = put(&store, &other) else { panic!("accepted") };
    assert!(errors.to_string().contains("has expired"), "{errors}");
    site.write("other.yaml", &other);
    assert!(crate::store::FileStore::new(site.path()).check().is_err());
    let restarted = site.open();
    let model = Arc::clone(&restarted.latest().model);
    assert!(chain(&restarted, "other").starts_with("-----BEGIN"));
    let mut told = BTreeMap::new();
    ages(&model, &mut told, keychain::now());
    assert_eq!(told.get("other"), Some(&Age::Expired));
}

#[test]
fn no_key_is_in_what_a_store_keeps_or_shows() {
    let site = Site::new();
    let state = TempDir::new().unwrap();
    let store = DirectoryStore::open(site.path(), Some(state.path())).unwrap();
    put(&store, &GATEWAY.replace("443", "444")).unwrap();
    store.rollback(1, String::new(), String::new(), Parent::default(), false).unwrap();
    let key = fs::read_to_string(site.keys().join("tls.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let accepted = store.latest();
    let mut shown = format!("{accepted:?} {store:?} {:?}", store.revisions(1..=u64::MAX));
    for entry in fs::read_dir(state.path()).unwrap() {
        shown.push_str(&String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap_or_default()));
    }
    let empty = crate::model::Model::default();
    let difference = crate::snapshot::difference::difference(&empty, &accepted.model);
    write!(shown, "{difference:?}").unwrap();
    shown.push_str(&accepted.documents[&(Kind::Certificate, "edge".to_owned())].text);
    assert!(shown.contains("keys/tls.key") && !shown.contains(secret));
}

#[tokio::test]
async fn documents_wait_for_files_that_come_later() {
    let site = Site::new();
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    let store = crate::store::FileStore::new(site.path()).open(None, &mut tasks, stop.clone()).unwrap();
    let mut newest = store.subscribe();
    let has_other =
        |accepted: &Arc<crate::store::Accepted>| accepted.model.certificates.contains_key("other");
    site.write("other.yaml", &CERTIFICATE.replace("name: edge", "name: other").replace("/tls.", "/late."));
    let early = newest.wait_for(has_other);
    assert!(tokio::time::timeout(Duration::from_millis(300), early).await.is_err());
    site.1.issue("late.example").write(&site.keys(), "late");
    let later = newest.wait_for(has_other);
    tokio::time::timeout(Duration::from_secs(30), later).await.unwrap().unwrap();
    stop.cancel();
}
