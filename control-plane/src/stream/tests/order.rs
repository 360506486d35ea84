//! In which order things are pushed and removed, and how Envoy warms them.

use super::*;

#[test]
fn line_26_endpoints_follow_a_changed_cluster_even_if_they_have_not_changed() {
    let endpoints: (Kind, Contents<'_>) = (Endpoints, &[("a", "1"), ("b", "1")]);
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("a", "1"), ("b", "1")]), endpoints]));
    client.ask(Cluster, change(&[], &[]));
    client.ask(Endpoints, change(&["a", "b"], &[]));
    client.settle();
    client.update(&snapshot(&[(Cluster, &[("a", "2"), ("b", "1")]), endpoints]));
    // Without waiting for the acknowledgement, which only comes once the endpoints are there.
    assert_eq!(client.due(), [said(Cluster, &["a"], &[]), said(Endpoints, &["a"], &[])]);
}

#[test]
fn line_27_sotw_endpoints_follow_a_changed_cluster_whether_or_not_the_request_is_repeated() {
    let endpoints: (Kind, Contents<'_>) = (Endpoints, &[("a", "1"), ("b", "1")]);
    let mut client = Client::state(&snapshot(&[(Cluster, &[("a", "1"), ("b", "1")]), endpoints]));
    client.ask(Cluster, exactly(&[]));
    client.ask(Endpoints, exactly(&["a", "b"]));
    client.due();
    client.answer(Cluster, exactly(&[]), None);
    client.answer(Endpoints, exactly(&["a", "b"]), None);
    client.update(&snapshot(&[(Cluster, &[("a", "2"), ("b", "1")]), endpoints]));
    let before = client.nonces[&Endpoints].clone();
    assert_eq!(client.due(), [said(Cluster, &["a", "b"], &[]), said(Endpoints, &["a"], &[])]);
    // Envoy's repetition crosses that answer, and is then older than it.
    let repeated = Client::request(Endpoints, &before, exactly(&["a", "b"]), None);
    assert_eq!(client.stream.receive(repeated), Ok(Event::Stale(Endpoints)));
    assert_eq!(client.due(), []);
}

#[test]
fn line_27_sotw_a_repeated_request_is_answered_where_clusters_come_on_another_stream() {
    let mut client = Client::state(&snapshot(&[(Endpoints, &[("a", "1")])]));
    client.ask(Endpoints, exactly(&["a"]));
    client.settle_names(&["a"]);
    client.answer(Endpoints, exactly(&["a"]), None);
    assert_eq!(client.settle_names(&["a"]), [said(Endpoints, &["a"], &[])]);
    // A client that answers everything twice is not kept in a loop by that.
    client.answer(Endpoints, exactly(&["a"]), None);
    assert_eq!(client.due(), []);
    client.update(&snapshot(&[(Endpoints, &[("a", "1")]), (Cluster, &[("a", "2")])]));
    client.answer(Endpoints, exactly(&["a"]), None);
    assert_eq!(client.due(), [said(Endpoints, &["a"], &[])]);
}

#[test]
fn line_28_after_a_reconnect_endpoints_follow_clusters_although_they_were_asked_for_first() {
    let before = snapshot(&[(Cluster, &[("a", "1")])]);
    let now = snapshot(&[(Cluster, &[("a", "2")]), (Endpoints, &[("a", "1")])]);
    let mut client = Client::delta(&now);
    let endpoints = version(Endpoints, &now, "a");
    client.ask(Endpoints, holding(&["a"], &[("a", &*endpoints)]));
    assert_eq!(client.due(), []);
    client.ask(Cluster, holding(&[], &[("a", &*version(Cluster, &before, "a"))]));
    assert_eq!(client.due(), [said(Cluster, &["a"], &[]), said(Endpoints, &["a"], &[])]);
}

/// A stream that has everything of a first snapshot.
fn everything(client: &mut Client) {
    client.ask(Cluster, change(&[], &[]));
    client.ask(Listener, change(&[], &[]));
    client.ask(Endpoints, change(&["old", "new"], &[]));
    client.ask(Route, change(&["r"], &[]));
    client.ask(ExtensionConfig, change(&["f", "g"], &[]));
    client.settle();
}

#[test]
fn line_29_pushes_go_clusters_endpoints_listeners_routes_filters_and_then_removals() {
    let old = snapshot(&[
        (Cluster, &[("old", "1")]),
        (Endpoints, &[("old", "1")]),
        (Listener, &[("l", "1"), ("m", "1")]),
        (Route, &[("r", "1")]),
        (ExtensionConfig, &[("f", "1")]),
    ]);
    let new = snapshot(&[
        (Cluster, &[("new", "1")]),
        (Endpoints, &[("new", "1")]),
        (Listener, &[("l", "2")]),
        (Route, &[("r", "2")]),
        (ExtensionConfig, &[("g", "1")]),
    ]);
    let mut client = Client::delta(&old);
    everything(&mut client);
    client.update(&new);
    assert_eq!(
        client.settle(),
        [
            said(Cluster, &["new"], &[]),
            said(Endpoints, &["new"], &[]),
            said(Listener, &["l"], &[]),
            said(Route, &["r"], &[]),
            said(ExtensionConfig, &["g"], &[]),
            said(Listener, &[], &["m"]),
            said(Cluster, &[], &["old"]),
            said(Endpoints, &[], &["old"]),
        ]
    );
}

#[test]
fn line_29_routes_wait_until_clusters_are_warm_and_removals_until_routes_are_in_force() {
    let old: [(Kind, Contents<'_>); 2] = [(Cluster, &[("old", "1")]), (Route, &[("r", "1")])];
    let new: [(Kind, Contents<'_>); 2] = [(Cluster, &[("new", "1")]), (Route, &[("r", "2")])];
    let mut client = Client::delta(&snapshot(&old));
    client.ask(Cluster, change(&[], &[]));
    client.ask(Route, change(&["r"], &[]));
    client.settle();
    client.update(&snapshot(&new));
    assert_eq!(client.due(), [said(Cluster, &["new"], &[])]);
    client.answer(Cluster, change(&[], &[]), None);
    assert_eq!(client.due(), [said(Route, &["r"], &[])]);
    // Until it says so, the proxy sends traffic to the old cluster.
    client.answer(Route, change(&[], &[]), None);
    assert_eq!(client.due(), [said(Cluster, &[], &["old"])]);
}

#[test]
fn line_29_what_refused_routes_still_use_is_not_removed() {
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("old", "1")]), (Route, &[("r", "1")])]));
    client.ask(Cluster, change(&[], &[]));
    client.ask(Route, change(&["r"], &[]));
    client.settle();
    client.update(&snapshot(&[(Cluster, &[("new", "1")]), (Route, &[("r", "bad")])]));
    client.next();
    client.answer(Cluster, change(&[], &[]), None);
    client.next();
    client.answer(Route, change(&[], &[]), Some("no"));
    assert_eq!(client.due(), []);
    client.update(&snapshot(&[(Cluster, &[("new", "1")]), (Route, &[("r", "3")])]));
    assert_eq!(client.settle(), [said(Route, &["r"], &[]), said(Cluster, &[], &["old"])]);
}

#[test]
fn line_29_endpoints_are_not_removed_before_their_cluster() {
    let mut client = Client::delta(&snapshot(&[
        (Cluster, &[("old", "1")]),
        (Endpoints, &[("old", "1")]),
        (Route, &[("r", "1")]),
    ]));
    client.ask(Cluster, change(&[], &[]));
    client.ask(Endpoints, change(&["old"], &[]));
    client.ask(Route, change(&["r"], &[]));
    client.settle();
    client.update(&snapshot(&[(Route, &[("r", "2")])]));
    assert_eq!(client.due(), [said(Route, &["r"], &[])]);
    client.answer(Route, change(&[], &[]), None);
    assert_eq!(client.due(), [said(Cluster, &[], &["old"])]);
    client.answer(Cluster, change(&[], &[]), None);
    assert_eq!(client.due(), [said(Endpoints, &[], &["old"])]);
}

#[test]
fn line_29_sotw_a_removal_is_held_back_by_sending_the_resource_once_more() {
    let mut client = Client::state(&snapshot(&[(Cluster, &[("old", "1")]), (Route, &[("r", "1")])]));
    client.ask(Cluster, exactly(&[]));
    client.ask(Route, exactly(&["r"]));
    client.due();
    client.answer(Cluster, exactly(&[]), None);
    client.answer(Route, exactly(&["r"]), None);
    let new = snapshot(&[(Cluster, &[("new", "1")]), (Route, &[("r", "2")])]);
    client.update(&new);
    assert_eq!(client.due(), [said(Cluster, &["new", "old"], &[])]);
    client.answer(Cluster, exactly(&[]), None);
    assert_eq!(client.due(), [said(Route, &["r"], &[])]);
    client.answer(Route, exactly(&["r"]), None);
    let last = client.next().unwrap();
    assert_eq!(last.resources.iter().map(|r| &**r.name()).collect::<Vec<_>>(), ["new"]);
    assert_eq!(&last.version, new.set(Cluster).version());
}
