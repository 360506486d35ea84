use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::document::read;
use crate::model::Model;

/// A name server that says what it is told to.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>);

impl Told {
    fn tell(&self, host: &str, last: &[u8]) {
        let addresses = last.iter().map(|last| [10, 0, 0, *last].into()).collect();
        self.0.lock().unwrap().insert(host.to_owned(), addresses);
    }
}

impl Lookup for Told {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.0.lock().unwrap().get(host).cloned().ok_or(LookupError::Timeout)
    }
}

fn documents(revision: u64, hosts: &[&str]) -> Arc<Accepted> {
    let one = |host: &&str| {
        format!(
            "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: {host}}}\n\
             spec: {{discovery: {{dns: {{host: {host}, port: 80, refresh: 5s, keepFor: 1m}}}}}}\n"
        )
    };
    let text = hosts.iter().map(one).collect::<Vec<_>>().join("---\n");
    let contents = (!hosts.is_empty()).then(|| read("b.yaml", text.as_bytes()));
    let model = Model::build(contents).unwrap();
    Arc::new(Accepted { revision, model: Arc::new(model), ..Accepted::default() })
}

/// The revision, and the last numbers of each host's addresses.
fn shown(located: Option<&Located>) -> (u64, Vec<(String, Vec<String>)>) {
    let Some(located) = located else { return (0, Vec::new()) };
    let text = |addresses: &Arc<[IpAddr]>| addresses.iter().map(ToString::to_string).collect();
    let addresses = located.addresses.iter().map(|(dns, found)| (dns.host.clone(), text(found)));
    (located.accepted.revision, addresses.collect())
}

fn at(revision: u64, expected: &[(&str, &[&str])]) -> (u64, Vec<(String, Vec<String>)>) {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    (revision, expected.iter().map(|(host, found)| ((*host).to_owned(), owned(found))).collect())
}

#[tokio::test(start_paused = true)]
async fn documents_wait_for_their_names_and_addresses_follow_the_name_server() {
    let server = Told::default();
    server.tell("a", &[2, 1]);
    let (edit, newest) = watch::channel(documents(1, &["a"]));
    let (sender, mut located) = watch::channel(None);
    let task = tokio::spawn(run(newest, server.clone(), Kept::default(), sender));
    located.changed().await.unwrap();
    assert_eq!(shown(located.borrow_and_update().as_ref()), at(1, &[("a", &["10.0.0.1", "10.0.0.2"])]));

    // The name server turns its answers round; then an address goes.
    server.tell("a", &[1, 2]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!located.has_changed().unwrap());
    server.tell("a", &[2]);
    located.changed().await.unwrap();
    assert_eq!(shown(located.borrow_and_update().as_ref()), at(1, &[("a", &["10.0.0.2"])]));

    // A new name is asked for before its documents are used; one that does not resolve does not hold them up for ever.
    edit.send(documents(2, &["a", "b"])).unwrap();
    located.changed().await.unwrap();
    assert_eq!(shown(located.borrow_and_update().as_ref()), at(2, &[("a", &["10.0.0.2"])]));
    server.tell("b", &[9]);
    located.changed().await.unwrap();
    let both = at(2, &[("a", &["10.0.0.2"]), ("b", &["10.0.0.9"])]);
    assert_eq!(shown(located.borrow_and_update().as_ref()), both);

    // The last addresses stay for a minute after the first failure.
    server.0.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(shown(located.borrow().as_ref()), both);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(shown(located.borrow_and_update().as_ref()), at(2, &[]));
    drop(edit);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn documents_without_names_wait_for_nothing() {
    let (_edit, newest) = watch::channel(documents(3, &[]));
    let (sender, mut located) = watch::channel(None);
    tokio::spawn(run(newest, Told::default(), Kept::default(), sender));
    located.changed().await.unwrap();
    assert_eq!(shown(located.borrow().as_ref()), at(3, &[]));
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_name_server_begins_with_what_was_kept() {
    let directory = tempfile::tempdir().unwrap();
    let server = Told::default();
    server.tell("a", &[7]);
    let kept = || Kept::kept_in(directory.path()).unwrap();
    let start = |server: &Told| {
        let (edit, newest) = watch::channel(documents(1, &["a"]));
        let (sender, located) = watch::channel(None);
        tokio::spawn(run(newest, server.clone(), kept(), sender));
        (edit, located)
    };
    let (edit, mut located) = start(&server);
    located.changed().await.unwrap();
    drop(edit);

    server.0.lock().unwrap().clear();
    let (_edit, mut located) = start(&server);
    located.changed().await.unwrap();
    assert_eq!(shown(located.borrow().as_ref()), at(1, &[("a", &["10.0.0.7"])]));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(shown(located.borrow().as_ref()), at(1, &[]));
}
