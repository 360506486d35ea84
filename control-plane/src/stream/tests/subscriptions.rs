//! What is subscribed to, and what is sent for it.

use super::*;

#[test]
fn line_10_naming_nothing_means_everything_until_something_has_been_named() {
    let all = snapshot(&[(Cluster, &[("a", "1"), ("b", "1")])]);
    let mut client = Client::state(&all);
    client.ask(Cluster, exactly(&[]));
    assert_eq!(client.due(), [said(Cluster, &["a", "b"], &[])]);
    client.answer(Cluster, exactly(&["a"]), None);
    client.answer(Cluster, exactly(&[]), None);
    client.update(&snapshot(&[(Cluster, &[("a", "2"), ("b", "2")])]));
    assert_eq!(client.due(), []);

    let mut client = Client::delta(&all);
    client.ask(Cluster, change(&["a"], &[]));
    assert_eq!(client.settle(), [said(Cluster, &["a"], &[])]);
    client.ask(Cluster, change(&[], &["a"]));
    client.update(&snapshot(&[(Cluster, &[("a", "2"), ("b", "2")])]));
    assert_eq!(client.due(), []);

    // Other kinds know no such thing.
    let mut client = Client::delta(&snapshot(&[(Route, &[("a", "1")])]));
    client.ask(Route, change(&[], &[]));
    assert_eq!(client.due(), []);
}

#[test]
fn line_11_unsubscribing_from_everything_keeps_what_is_named() {
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("a", "1"), ("b", "1")])]));
    client.ask(Cluster, change(&["*", "a"], &[]));
    assert_eq!(client.settle(), [said(Cluster, &["a", "b"], &[])]);
    client.ask(Cluster, change(&[], &["*"]));
    client.update(&snapshot(&[(Cluster, &[("a", "2"), ("b", "2")])]));
    assert_eq!(client.settle(), [said(Cluster, &["a"], &[])]);
    // And a name beside the unspoken wildcard leaves that in place.
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("a", "1"), ("b", "1")])]));
    client.ask(Cluster, change(&[], &[]));
    client.ask(Cluster, change(&["a"], &[]));
    assert_eq!(client.settle(), [said(Cluster, &["a", "b"], &[])]);
}

#[test]
fn line_12_clients_that_are_not_envoy_name_what_they_want() {
    for interest in [exactly(&[]), change(&[], &[])] {
        let variant = if matches!(interest, Interest::Exactly { .. }) {
            Variant::StateOfTheWorld
        } else {
            Variant::Delta
        };
        let mut client = Client::new(variant, &snapshot(&[(Listener, &[("a", "1")])]));
        let grpc = Node { user_agent: "gRPC Python".into(), ..node() };
        let request = Request { node: Some(grpc), ..Client::request(Listener, "", interest, None) };
        client.stream.receive(request).unwrap();
        assert_eq!(client.due(), []);
    }
}

#[test]
fn line_13_sotw_roots_are_sent_in_full() {
    let mut client = Client::state(&snapshot(&[
        (Cluster, &[("a", "1"), ("b", "1")]),
        (Listener, &[("l", "1"), ("m", "1")]),
    ]));
    client.ask(Cluster, exactly(&[]));
    client.ask(Listener, exactly(&["l", "m"]));
    client.due();
    client.answer(Cluster, exactly(&[]), None);
    client.answer(Listener, exactly(&["l", "m"]), None);
    client.update(&snapshot(&[(Cluster, &[("a", "1"), ("b", "2")]), (Listener, &[("l", "1"), ("m", "2")])]));
    assert_eq!(client.due(), [said(Cluster, &["a", "b"], &[])]);
    client.answer(Cluster, exactly(&[]), None);
    assert_eq!(client.due(), [said(Listener, &["l", "m"], &[])]);
}

#[test]
fn line_14_nothing_is_answered_before_the_sources_have_loaded() {
    for interest in [exactly(&[]), change(&[], &[])] {
        let variant = if matches!(interest, Interest::Exactly { .. }) {
            Variant::StateOfTheWorld
        } else {
            Variant::Delta
        };
        let mut client = Client::with(
            variant,
            Options { only: None, legacy_wildcard: true, seed: 0, secrets: true },
            None,
        );
        client.ask(Cluster, interest.clone());
        client.ask(Listener, interest);
        assert_eq!(client.due(), []);
        client.update(&snapshot(&[(Cluster, &[("a", "1")])]));
        assert_eq!(client.due(), [said(Cluster, &["a"], &[]), said(Listener, &[], &[])]);
    }
}

#[test]
fn line_15_a_name_subscribed_in_two_ways_is_sent_once() {
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("a", "1")])]));
    client.ask(Cluster, change(&["*", "a", "a"], &[]));
    assert_eq!(client.due(), [said(Cluster, &["a"], &[])]);
    let mut client = Client::state(&snapshot(&[(Cluster, &[("a", "1")])]));
    client.ask(Cluster, exactly(&["*", "a", "a"]));
    assert_eq!(client.due(), [said(Cluster, &["a"], &[])]);
}

#[test]
fn line_16_unchanged_content_sends_nothing() {
    let first = snapshot(&[(Cluster, &[("a", "1")]), (Endpoints, &[("a", "1"), ("other", "1")])]);
    let mut delta = Client::delta(&first);
    delta.ask(Cluster, change(&[], &[]));
    delta.ask(Endpoints, change(&["a"], &[]));
    delta.settle();
    let mut state = Client::state(&first);
    state.ask(Endpoints, exactly(&["a"]));
    state.settle_names(&["a"]);
    // Equal content in other memory, and a change that concerns someone else.
    let second = snapshot(&[(Cluster, &[("a", "1")]), (Endpoints, &[("a", "1"), ("other", "2")])]);
    delta.update(&second);
    state.update(&second);
    assert_eq!(delta.due(), []);
    assert_eq!(state.due(), []);
}

#[test]
fn line_17_sotw_subscribing_again_after_unsubscribing_sends_again() {
    let mut client = Client::state(&snapshot(&[(Endpoints, &[("a", "1"), ("b", "1")])]));
    client.ask(Endpoints, exactly(&["a", "b"]));
    client.settle_names(&["a", "b"]);
    client.answer(Endpoints, exactly(&["b"]), None);
    assert_eq!(client.due(), []);
    client.answer(Endpoints, exactly(&["a", "b"]), None);
    assert_eq!(client.due(), [said(Endpoints, &["a"], &[])]);
}

#[test]
fn line_18_delta_subscribing_again_sends_again() {
    let mut client = Client::delta(&snapshot(&[(Endpoints, &[("a", "1"), ("b", "1")])]));
    client.ask(Endpoints, change(&["a", "b"], &[]));
    client.settle();
    client.ask(Endpoints, change(&["a"], &[]));
    assert_eq!(client.settle(), [said(Endpoints, &["a"], &[])]);
}

#[test]
fn line_19_delta_a_name_that_does_not_exist_is_answered_as_removed() {
    let mut client = Client::delta(&snapshot(&[(Route, &[("a", "1")])]));
    client.ask(Route, change(&["a", "nowhere"], &[]));
    assert_eq!(client.settle(), [said(Route, &["a"], &["nowhere"])]);
    // Said once, unless it is asked for again.
    client.update(&snapshot(&[(Route, &[("a", "2")])]));
    assert_eq!(client.settle(), [said(Route, &["a"], &[])]);
    client.ask(Route, change(&["nowhere"], &[]));
    assert_eq!(client.settle(), [said(Route, &[], &["nowhere"])]);
}

#[test]
fn line_20_what_is_created_later_is_pushed() {
    let mut client = Client::delta(&snapshot(&[]));
    client.ask(Route, change(&["a"], &[]));
    client.settle();
    client.update(&snapshot(&[(Route, &[("a", "1")])]));
    assert_eq!(client.settle(), [said(Route, &["a"], &[])]);

    let mut client = Client::state(&snapshot(&[]));
    client.ask(Route, exactly(&["a"]));
    assert_eq!(client.due(), []);
    client.update(&snapshot(&[(Route, &[("a", "1")])]));
    assert_eq!(client.due(), [said(Route, &["a"], &[])]);
}

#[test]
fn line_21_unsubscribing_from_what_was_never_subscribed_is_ignored() {
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("a", "1")])]));
    client.ask(Cluster, change(&[], &[]));
    client.settle();
    client.ask(Cluster, change(&[], &["a", "nowhere"]));
    assert_eq!(client.due(), []);
    client.update(&snapshot(&[(Cluster, &[("a", "2")])]));
    assert_eq!(client.due(), [said(Cluster, &["a"], &[])]);
}

#[test]
fn line_22_unsubscribing_a_name_that_the_wildcard_covers_is_answered_with_it() {
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("a", "1"), ("b", "1")])]));
    client.ask(Cluster, change(&["*", "a", "nowhere"], &[]));
    assert_eq!(client.settle(), [said(Cluster, &["a", "b"], &["nowhere"])]);
    client.ask(Cluster, change(&[], &["a"]));
    assert_eq!(client.settle(), [said(Cluster, &["a"], &[])]);
    client.ask(Cluster, change(&[], &["nowhere"]));
    assert_eq!(client.settle(), [said(Cluster, &[], &["nowhere"])]);
}

#[test]
fn line_23_after_a_reconnect_only_differences_are_sent() {
    let now = snapshot(&[(Cluster, &[("a", "1"), ("b", "2"), ("c", "1")])]);
    let before = snapshot(&[(Cluster, &[("b", "1")])]);
    let mut client = Client::delta(&now);
    let holds =
        [("a", &*version(Cluster, &now, "a")), ("b", &*version(Cluster, &before, "b")), ("gone", "1")];
    client.ask(Cluster, holding(&[], &holds));
    assert_eq!(client.settle(), [said(Cluster, &["b", "c"], &[]), said(Cluster, &[], &["gone"])]);

    let routes = snapshot(&[(Route, &[("a", "1"), ("b", "1")])]);
    let mut client = Client::delta(&routes);
    let holds = [("a", &*version(Route, &routes, "a")), ("gone", "1"), ("not asked for", "1")];
    client.ask(Route, holding(&["a", "b", "gone"], &holds));
    assert_eq!(client.settle(), [said(Route, &["b"], &[]), said(Route, &[], &["gone"])]);
}

#[test]
fn line_23_sotw_a_reconnect_with_the_current_version_sends_nothing() {
    let now = snapshot(&[(Cluster, &[("a", "1")])]);
    let mut client = Client::state(&now);
    let current = Interest::Exactly { names: Vec::new(), version: now.set(Cluster).version().to_string() };
    client.ask(Cluster, current.clone());
    assert_eq!(client.due(), []);
    client.update(&snapshot(&[(Cluster, &[("a", "2")])]));
    assert_eq!(client.due(), [said(Cluster, &["a"], &[])]);

    let mut client = Client::state(&snapshot(&[(Cluster, &[("a", "2")])]));
    client.ask(Cluster, current);
    assert_eq!(client.due(), [said(Cluster, &["a"], &[])]);
}

#[test]
fn line_25_the_first_wildcard_request_is_answered_even_with_nothing() {
    let mut client = Client::delta(&snapshot(&[]));
    client.ask(Cluster, change(&[], &[]));
    client.ask(Listener, change(&["*"], &[]));
    assert_eq!(client.settle(), [said(Cluster, &[], &[]), said(Listener, &[], &[])]);
    client.update(&snapshot(&[]));
    assert_eq!(client.due(), []);
}
