//! An Envoy that lost its stream while a cluster waited for endpoints asks for clusters last.

use super::*;
use crate::snapshot::known::History;

const BEFORE: [(Kind, Contents<'static>); 4] = [
    (Cluster, &[("old", "1")]),
    (Endpoints, &[("old", "1")]),
    (Listener, &[("l", "1")]),
    (Route, &[("r", "to old")]),
];
const NOW: [(Kind, Contents<'static>); 4] = [
    (Cluster, &[("new", "1")]),
    (Endpoints, &[("new", "1")]),
    (Listener, &[("l", "1")]),
    (Route, &[("r", "to new")]),
];

/// What a client says in its first request if it has everything of `had`.
fn resumes(variant: Variant, kind: Kind, wanted: &[&str], had: &Snapshot) -> Interest {
    let set = had.set(kind);
    match variant {
        Variant::StateOfTheWorld => {
            Interest::Exactly { names: names(wanted), version: set.version().to_string() }
        }
        Variant::Delta => {
            let holds = set.iter().map(|one| (one.name().to_string(), one.version().to_string()));
            Interest::Change { subscribe: names(wanted), unsubscribe: Vec::new(), holds: holds.collect() }
        }
    }
}

/// A request that says nothing new about names.
fn keeps(variant: Variant, wanted: &[&str]) -> Interest {
    match variant {
        Variant::StateOfTheWorld => exactly(wanted),
        Variant::Delta => change(&[], &[]),
    }
}

#[test]
fn routes_wait_for_the_clusters_that_are_asked_for_last() {
    let (before, now) = (snapshot(&BEFORE), snapshot(&NOW));
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let mut client = Client::new(variant, &now);
        client.ask(Listener, resumes(variant, Listener, &[], &before));
        assert_eq!(client.due(), [], "{variant:?}");
        client.ask(Route, resumes(variant, Route, &["r"], &before));
        assert_eq!(client.due(), [], "{variant:?}");
        // What the clusters wait for doesn't wait for them.
        client.ask(Endpoints, keeps(variant, &["new"]));
        if variant == Variant::Delta {
            client.ask(Endpoints, change(&["new"], &[]));
        }
        assert_eq!(client.due(), [said(Endpoints, &["new"], &[])], "{variant:?}");
        client.answer(Endpoints, keeps(variant, &["new"]), None);
        assert!(!client.stream.is_answered(), "it has yet to be sent the routes");
        client.ask(Cluster, resumes(variant, Cluster, &[], &before));
        let sent = client.due();
        assert_eq!(sent.first().map(|(kind, ..)| *kind), Some(Cluster), "{variant:?}");
        assert!(sent.iter().all(|(kind, ..)| *kind != Route), "{variant:?}: {sent:?}");
        client.answer(Endpoints, keeps(variant, &["new"]), None);
        client.answer(Cluster, keeps(variant, &[]), None);
        assert_eq!(client.due().first(), Some(&said(Route, &["r"], &[])), "{variant:?}");
    }
}

#[test]
fn who_never_asks_for_clusters_is_not_waited_for_for_ever() {
    let (before, now) = (snapshot(&BEFORE), snapshot(&NOW));
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let mut client = Client::new(variant, &now);
        client.ask(Listener, resumes(variant, Listener, &[], &before));
        client.ask(Route, resumes(variant, Route, &["r"], &before));
        assert_eq!((client.stream.awaits_clusters(), client.due()), (true, vec![]), "{variant:?}");
        client.stream.expect_no_clusters();
        assert_eq!(client.due(), [said(Route, &["r"], &[])], "{variant:?}");
    }
}

#[test]
fn who_has_its_clusters_from_elsewhere_is_not_waited_for() {
    let (before, now) = (snapshot(&BEFORE), snapshot(&NOW));
    let everything = Options { only: None, legacy_wildcard: true, seed: 0, secrets: true };
    let one = Options { only: Some(Listener), ..everything };
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        // Routes alone over the aggregated stream.
        let mut client = Client::new(variant, &now);
        client.ask(Route, resumes(variant, Route, &["r"], &before));
        assert_eq!(client.due(), [said(Route, &["r"], &[])], "{variant:?}");
        // A stream for listeners alone.
        let mut client = Client::with(variant, one, Some(&now));
        client.ask(Listener, resumes(variant, Listener, &[], &before));
        assert!(!client.stream.awaits_clusters());
        // One that starts has nothing that could break.
        let mut client = Client::new(variant, &now);
        client.ask(Listener, keeps(variant, &[]));
        assert!(!client.stream.awaits_clusters());
        // gRPC learns from the routes which clusters there are.
        let mut client = Client::new(variant, &now);
        let mut listeners = Client::request(Listener, "", resumes(variant, Listener, &["l"], &before), None);
        listeners.node = Some(Node { user_agent: "gRPC Python".into(), ..node() });
        client.stream.receive(listeners).unwrap();
        client.ask(Route, resumes(variant, Route, &["r"], &before));
        assert_eq!(client.due(), [said(Route, &["r"], &[])], "{variant:?}");
    }
}

#[test]
fn line_29_sotw_clusters_known_by_their_version_stay_until_nothing_refers_to_them() {
    let (before, now) = (snapshot(&BEFORE), snapshot(&NOW));
    let mut history = History::default();
    for (revision, one) in (1..).zip([&before, &now]) {
        history.give(revision, one.set(Cluster));
    }
    let reconnected = || {
        let mut client = Client::state(&now);
        client.ask(Endpoints, resumes(Variant::StateOfTheWorld, Endpoints, &["old"], &before));
        client.ask(Listener, resumes(Variant::StateOfTheWorld, Listener, &[], &before));
        client.ask(Route, resumes(Variant::StateOfTheWorld, Route, &["r"], &before));
        assert_eq!(client.due(), []);
        client.ask(Cluster, resumes(Variant::StateOfTheWorld, Cluster, &[], &before));
        client
    };
    let mut client = reconnected();
    assert_eq!(client.due(), [said(Cluster, &["new"], &[])], "nobody knows what it has");

    now.came_after(&history);
    let mut client = reconnected();
    assert_eq!(client.due(), [said(Cluster, &["new", "old"], &[])]);
    client.answer(Cluster, exactly(&[]), None);
    assert_eq!(client.due(), [said(Route, &["r"], &[])]);
    client.answer(Route, exactly(&["r"]), None);
    assert_eq!(client.due(), [said(Cluster, &["new"], &["old"])]);
}
