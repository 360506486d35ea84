//! Requests and acknowledgements.

use super::*;

#[test]
fn line_1_sotw_a_request_with_an_old_nonce_is_ignored() {
    let mut client = Client::state(&snapshot(&[(Endpoints, &[("a", "1"), ("b", "1")])]));
    client.ask(Endpoints, exactly(&["a"]));
    client.settle_names(&["a"]);
    client.update(&snapshot(&[(Endpoints, &[("a", "2"), ("b", "1")])]));
    let old = client.nonces[&Endpoints].clone();
    assert_eq!(client.due(), [said(Endpoints, &["a"], &[])]);
    let late = Client::request(Endpoints, &old, exactly(&["a", "b"]), None);
    assert_eq!(client.stream.receive(late), Ok(Event::Stale(Endpoints)));
    assert_eq!(client.due(), []);
    // The acknowledgement of the newest response says the same, and counts.
    assert!(matches!(client.answer(Endpoints, exactly(&["a", "b"]), None), Event::Accepted(..)));
    assert_eq!(client.due(), [said(Endpoints, &["b"], &[])]);
}

#[test]
fn line_2_delta_a_change_of_interest_applies_whatever_its_nonce() {
    let mut client = Client::delta(&snapshot(&[(Endpoints, &[("a", "1"), ("b", "1")])]));
    client.ask(Endpoints, change(&["a"], &[]));
    assert_eq!(client.due(), [said(Endpoints, &["a"], &[])]);
    let stale = Client::request(Endpoints, "no such nonce", change(&["b"], &["a"]), None);
    assert_eq!(client.stream.receive(stale), Ok(Event::Stale(Endpoints)));
    assert_eq!(client.due(), [said(Endpoints, &["b"], &[])]);
}

#[test]
fn line_3_a_nonce_in_the_first_request_of_a_type_is_from_another_stream() {
    for interest in [exactly(&["a"]), change(&["a"], &[])] {
        let variant = if matches!(interest, Interest::Exactly { .. }) {
            Variant::StateOfTheWorld
        } else {
            Variant::Delta
        };
        let mut client = Client::new(variant, &snapshot(&[(Route, &[("a", "1")])]));
        let first = Client::request(Route, "17", interest.clone(), None);
        assert_eq!(client.stream.receive(first), Ok(Event::Subscribed(Route)));
        assert_eq!(client.due(), [said(Route, &["a"], &[])]);
        // Even one that looks like a refusal.
        let mut client = Client::new(variant, &snapshot(&[(Route, &[("a", "1")])]));
        let first = Client::request(Route, "1", interest, Some("no"));
        assert_eq!(client.stream.receive(first), Ok(Event::Subscribed(Route)));
        assert_eq!(client.due(), [said(Route, &["a"], &[])]);
    }
}

#[test]
fn line_4_a_refusal_is_a_request_with_an_error_and_nothing_else() {
    let first = snapshot(&[(Listener, &[("a", "1")])]);
    let mut client = Client::state(&first);
    client.ask(Listener, exactly(&[]));
    let response = client.next().unwrap();
    // An old version in the request does not make it a refusal.
    let accepts = Interest::Exactly { names: Vec::new(), version: "something else".into() };
    let event = client.answer(Listener, accepts, None);
    assert_eq!(event, Event::Accepted(Listener, Arc::clone(&response.version)));

    client.update(&snapshot(&[(Listener, &[("a", "2")])]));
    let response = client.next().unwrap();
    let refuses = Interest::Exactly { names: Vec::new(), version: response.version.to_string() };
    let event = client.answer(Listener, refuses, Some("no"));
    assert!(
        matches!(event, Event::Refused(Listener, what, why) if why == "no" && what.version == response.version)
    );
}

#[test]
fn line_5_a_refused_version_is_not_sent_again_until_the_content_changes() {
    for (variant, interest) in [(Variant::StateOfTheWorld, exactly(&[])), (Variant::Delta, change(&[], &[]))]
    {
        let mut client = Client::new(variant, &snapshot(&[(Listener, &[("a", "1"), ("b", "1")])]));
        client.ask(Listener, interest.clone());
        client.next();
        client.answer(Listener, interest.clone(), None);
        client.update(&snapshot(&[(Listener, &[("a", "bad"), ("b", "1")])]));
        client.next();
        client.answer(Listener, interest.clone(), Some("no"));
        assert_eq!(client.due(), []);
        // A new snapshot that leaves it as it is.
        client.update(&snapshot(&[(Listener, &[("a", "bad"), ("b", "1")]), (Route, &[("r", "1")])]));
        assert_eq!(client.due(), []);
        client.update(&snapshot(&[(Listener, &[("a", "3"), ("b", "1")])]));
        let sent = client.next().unwrap();
        assert!(sent.resources.iter().any(|resource| &**resource.name() == "a"));
    }
}

#[test]
fn line_5_what_a_node_refused_is_not_sent_when_it_reconnects() {
    let old = snapshot(&[(Listener, &[("a", "1"), ("b", "1")])]);
    let new = snapshot(&[(Listener, &[("a", "bad"), ("b", "1")])]);
    let refused = |resources| Refused { version: Arc::clone(new.set(Listener).version()), resources };
    let bad = vec![("a".into(), version(Listener, &new, "a").into())];

    let mut client = Client::delta(&new);
    client.stream.recall([(Listener, refused(bad.clone()))]);
    let holds = [("a", &*version(Listener, &old, "a")), ("b", &*version(Listener, &old, "b"))];
    client.ask(Listener, holding(&[], &holds));
    assert_eq!(client.due(), []);

    let mut client = Client::state(&new);
    client.stream.recall([(Listener, refused(bad.clone()))]);
    let has_old = Interest::Exactly { names: Vec::new(), version: old.set(Listener).version().to_string() };
    client.stream.expect_no_clusters();
    client.ask(Listener, has_old);
    assert_eq!(client.due(), []);
    client.update(&snapshot(&[(Listener, &[("a", "3"), ("b", "1")])]));
    assert_eq!(client.due(), [said(Listener, &["a", "b"], &[])]);

    // A proxy that starts anew may be another program by now, and has nothing else.
    let mut client = Client::delta(&new);
    client.stream.recall([(Listener, refused(bad))]);
    client.ask(Listener, change(&[], &[]));
    assert_eq!(client.due(), [said(Listener, &["a", "b"], &[])]);
}

#[test]
fn line_6_a_refusal_of_one_type_changes_nothing_for_the_others() {
    let mut client = Client::delta(&snapshot(&[(Listener, &[("l", "1")]), (ExtensionConfig, &[("f", "1")])]));
    client.ask(Listener, change(&[], &[]));
    client.ask(ExtensionConfig, change(&["f"], &[]));
    client.settle();
    client.update(&snapshot(&[(Listener, &[("l", "bad")]), (ExtensionConfig, &[("f", "1")])]));
    client.next();
    client.answer(Listener, change(&[], &[]), Some("no"));
    client.update(&snapshot(&[(Listener, &[("l", "bad")]), (ExtensionConfig, &[("f", "2")])]));
    assert_eq!(client.due(), [said(ExtensionConfig, &["f"], &[])]);
}

#[test]
fn line_7_the_node_of_the_first_request_is_remembered() {
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("a", "1")]), (Listener, &[("l", "1")])]));
    client.ask(Cluster, change(&[], &[]));
    let mut later = Client::request(Listener, "", change(&[], &[]), None);
    later.node = None;
    assert_eq!(client.stream.receive(later.clone()), Ok(Event::Subscribed(Listener)));
    assert_eq!(client.stream.node(), Some(&Arc::new(node())));

    let mut nobody = Client::delta(&snapshot(&[]));
    assert_eq!(nobody.stream.receive(later.clone()), Err(StreamError::NoNode));
    later.node = Some(Node { fleet: String::new(), ..node() });
    assert_eq!(nobody.stream.receive(later), Err(StreamError::NoNode));
}

#[test]
fn line_8_the_type_is_named_on_aggregated_streams_and_implied_by_separate_services() {
    let snapshot = snapshot(&[(Cluster, &[("a", "1")])]);
    let untyped = Request { type_url: String::new(), ..Client::request(Cluster, "", change(&[], &[]), None) };
    let mut aggregated = Client::delta(&snapshot);
    assert_eq!(aggregated.stream.receive(untyped.clone()), Err(StreamError::NoType));
    let other = Request { type_url: "type.googleapis.com/a.B".into(), ..untyped.clone() };
    assert_eq!(aggregated.stream.receive(other), Ok(Event::NotServed("type.googleapis.com/a.B".into())));

    let only = Options { only: Some(Cluster), legacy_wildcard: true, seed: 0, secrets: true };
    let mut separate = Client::with(Variant::Delta, only, Some(&snapshot));
    assert_eq!(separate.stream.receive(untyped), Ok(Event::Subscribed(Cluster)));
    assert_eq!(separate.due(), [said(Cluster, &["a"], &[])]);
    let wrong = Client::request(Listener, "", change(&[], &[]), None);
    assert!(matches!(separate.stream.receive(wrong), Err(StreamError::WrongType { .. })));
}

#[test]
fn line_9_what_has_been_unsubscribed_before_it_was_sent_is_not_sent() {
    let mut client = Client::delta(&snapshot(&[(Endpoints, &[("a", "1"), ("b", "1")])]));
    client.ask(Endpoints, change(&["a"], &[]));
    client.ask(Endpoints, change(&["b"], &["a"]));
    assert_eq!(client.due(), [said(Endpoints, &["b"], &[])]);

    let mut client = Client::state(&snapshot(&[(Endpoints, &[("a", "1"), ("b", "1")])]));
    client.ask(Endpoints, exactly(&["a"]));
    client.ask(Endpoints, exactly(&["b"]));
    assert_eq!(client.due(), [said(Endpoints, &["b"], &[])]);
}
