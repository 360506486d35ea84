//! Secrets, where they differ from other kinds.

use super::*;
use Kind::Secret;

#[test]
fn line_24_secrets_are_sent_again_on_reconnect_even_if_versions_agree() {
    let now = snapshot(&[(Secret, &[("a", "1")])]);
    let mut client = Client::delta(&now);
    client.ask(Secret, holding(&["a", "gone"], &[("a", &*version(Secret, &now, "a")), ("gone", "1")]));
    // What no longer exists is said to be gone all the same.
    let said_at_all = client.settle();
    assert!(said_at_all.iter().any(|(_, sent, _)| sent == &names(&["a"])), "{said_at_all:?}");
    assert!(said_at_all.iter().any(|(_, _, removed)| removed == &names(&["gone"])), "{said_at_all:?}");
    assert_eq!(client.due(), []);

    let mut client = Client::state(&now);
    let version = now.set(Secret).version().to_string();
    client.ask(Secret, Interest::Exactly { names: names(&["a"]), version });
    assert_eq!(client.settle_names(&["a"]), [said(Secret, &["a"], &[])]);
    assert_eq!(client.due(), []);
}

#[test]
fn what_refers_to_a_secret_goes_before_it() {
    let mut client = Client::delta(&snapshot(&[(Secret, &[("a", "1")]), (Cluster, &[("c", "1")])]));
    client.ask(Cluster, change(&[], &[]));
    client.ask(Secret, change(&["a"], &[]));
    // A cluster waits for its certificate, so the certificate must not wait for the cluster.
    assert_eq!(client.due(), [said(Secret, &["a"], &[]), said(Cluster, &["c"], &[])]);
    client.answer(Secret, change(&[], &[]), None);
    client.answer(Cluster, change(&[], &[]), None);
    client.update(&snapshot(&[]));
    assert_eq!(client.due(), [said(Cluster, &[], &["c"])]);
    client.answer(Cluster, change(&[], &[]), None);
    assert_eq!(client.due(), [said(Secret, &[], &["a"])]);
}

#[test]
fn secrets_are_not_served_to_those_who_could_be_anybody() {
    let secrets = snapshot(&[(Secret, &[("a", "1")])]);
    for only in [None, Some(Secret)] {
        let options = Options { only, legacy_wildcard: true, seed: 0, secrets: false };
        let mut client = Client::with(Variant::Delta, options, Some(&secrets));
        let event = client.ask(Secret, change(&["a"], &[]));
        assert_eq!(event, Event::NotServed(Secret.type_url().to_owned()));
        assert_eq!(client.due(), []);
    }
}

#[test]
fn what_a_client_has_wants_and_refuses_can_be_told() {
    let mut client = Client::delta(&snapshot(&[(Listener, &[("a", "1")])]));
    client.ask(Listener, change(&["a", "b"], &[]));
    let told = |client: &Client| -> Vec<(String, bool, bool, bool, bool)> {
        let standings = client.stream.standings();
        standings
            .map(|(_, name, one)| {
                (name.to_string(), one.told, one.sent.is_some(), one.accepted.is_some(), one.refused)
            })
            .collect()
    };
    let one = |name: &str, told, sent, accepted, refused| (name.to_owned(), told, sent, accepted, refused);
    assert_eq!(told(&client), [one("a", false, false, false, false), one("b", false, false, false, false)]);
    client.next();
    assert_eq!(told(&client), [one("a", true, true, false, false), one("b", true, false, false, false)]);
    client.answer(Listener, change(&[], &[]), None);
    assert_eq!(told(&client)[0], one("a", true, true, true, false));
    client.update(&snapshot(&[(Listener, &[("a", "bad")])]));
    client.next();
    client.answer(Listener, change(&[], &[]), Some("no"));
    let refused = told(&client);
    assert_eq!(refused[0], one("a", true, true, true, true));
}
