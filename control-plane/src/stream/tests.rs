//! One test for each line of the protocol's rules that the state machine answers for.

use std::collections::{HashMap, HashSet};

use envoy_types::pb::google::protobuf::StringValue;

use super::*;
use crate::snapshot::{Form, Resource, ResourceSet};

/// Names of resources, each with its content.
type Contents<'a> = &'a [(&'a str, &'a str)];

fn set(kind: Kind, contents: Contents<'_>) -> Arc<ResourceSet> {
    let resource = |(name, value): &(&str, &str)| {
        Arc::new(match kind {
            ExtensionConfig => Resource::filter(name, &(*value).into(), &"5ha".into()),
            _ => Resource::new(name, &StringValue { value: (*value).to_owned() }),
        })
    };
    Arc::new(ResourceSet::new(contents.iter().map(resource)))
}

fn snapshot(kinds: &[(Kind, Contents<'_>)]) -> Arc<Snapshot> {
    Arc::new(
        kinds.iter().fold(Snapshot::default(), |snapshot, (kind, contents)| {
            snapshot.with(*kind, set(*kind, contents))
        }),
    )
}

/// A client at the other end of a stream. Requests are made up by the tests, responses collected.
struct Client {
    stream: Stream,
    nonces: HashMap<Kind, String>,
}

/// What a response said: its kind, the names in it, and the names removed.
type Said = (Kind, Vec<String>, Vec<String>);

fn said(kind: Kind, sent: &[&str], removed: &[&str]) -> Said {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    (kind, owned(sent), owned(removed))
}

fn node() -> Node {
    Node { id: "edge-1".into(), fleet: "edge".into(), user_agent: "envoy".into(), ..Node::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn exactly(wanted: &[&str]) -> Interest {
    Interest::Exactly { names: names(wanted), version: String::new() }
}

fn change(subscribe: &[&str], unsubscribe: &[&str]) -> Interest {
    Interest::Change { subscribe: names(subscribe), unsubscribe: names(unsubscribe), holds: HashMap::new() }
}

fn holding(subscribe: &[&str], holds: &[(&str, &str)]) -> Interest {
    let holds = holds.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
    Interest::Change { subscribe: names(subscribe), unsubscribe: Vec::new(), holds }
}

fn version(kind: Kind, snapshot: &Snapshot, name: &str) -> String {
    snapshot.set(kind).get(name).unwrap().version().to_string()
}

impl Client {
    fn with(variant: Variant, options: Options, snapshot: Option<&Arc<Snapshot>>) -> Self {
        let mut stream = Stream::new(variant, options);
        if let Some(snapshot) = snapshot {
            stream.update(Arc::clone(snapshot));
        }
        Self { stream, nonces: HashMap::new() }
    }

    fn new(variant: Variant, snapshot: &Arc<Snapshot>) -> Self {
        Self::with(
            variant,
            Options { only: None, legacy_wildcard: true, seed: 0, secrets: true },
            Some(snapshot),
        )
    }

    fn delta(snapshot: &Arc<Snapshot>) -> Self {
        Self::new(Variant::Delta, snapshot)
    }

    fn state(snapshot: &Arc<Snapshot>) -> Self {
        Self::new(Variant::StateOfTheWorld, snapshot)
    }

    fn request(kind: Kind, nonce: &str, interest: Interest, error: Option<&str>) -> Request {
        Request {
            node: Some(node()),
            type_url: kind.type_url().to_owned(),
            nonce: nonce.to_owned(),
            error: error.map(ToOwned::to_owned),
            interest,
            locators: false,
        }
    }

    /// A request that answers nothing.
    fn ask(&mut self, kind: Kind, interest: Interest) -> Event {
        self.stream.receive(Self::request(kind, "", interest, None)).unwrap()
    }

    /// A request that answers the latest response.
    fn answer(&mut self, kind: Kind, interest: Interest, error: Option<&str>) -> Event {
        let nonce = self.nonces.get(&kind).cloned().unwrap_or_default();
        self.stream.receive(Self::request(kind, &nonce, interest, error)).unwrap()
    }

    fn next(&mut self) -> Option<Response> {
        let response = self.stream.respond()?;
        self.nonces.insert(response.kind, response.nonce.clone());
        let unique: HashSet<_> = response.resources.iter().map(Delivery::name).collect();
        assert_eq!(unique.len(), response.resources.len(), "15: a name twice in one response");
        Some(response)
    }

    /// Everything that is due without anything being acknowledged.
    fn due(&mut self) -> Vec<Said> {
        std::iter::from_fn(|| self.next()).map(|response| Self::said(&response)).collect()
    }

    fn said(response: &Response) -> Said {
        let sent = response.resources.iter().map(|resource| resource.name().to_string()).collect();
        (response.kind, sent, response.removed.iter().map(ToString::to_string).collect())
    }

    /// Delta: everything that is due, each response acknowledged before the next is asked for.
    fn settle(&mut self) -> Vec<Said> {
        let mut all = Vec::new();
        while let Some(response) = self.next() {
            all.push(Self::said(&response));
            self.answer(response.kind, change(&[], &[]), None);
        }
        all
    }

    /// State of the world: as `settle`, keeping to the names.
    fn settle_names(&mut self, wanted: &[&str]) -> Vec<Said> {
        let mut all = Vec::new();
        while let Some(response) = self.next() {
            all.push(Self::said(&response));
            self.answer(response.kind, exactly(wanted), None);
        }
        all
    }

    fn update(&mut self, snapshot: &Arc<Snapshot>) {
        self.stream.update(Arc::clone(snapshot));
    }
}

mod reconnect;
mod rollback;
mod secrets;

use Kind::{Cluster, Endpoints, ExtensionConfig, Listener, Route};

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
fn line_5_a_filter_is_sent_again_because_its_module_may_have_been_downloaded_meanwhile() {
    let mut client = Client::delta(&snapshot(&[(ExtensionConfig, &[("f", "1"), ("g", "1")])]));
    client.ask(ExtensionConfig, change(&["f", "g"], &[]));
    let first = client.next().unwrap();
    assert!(first.resources.iter().all(|delivery| delivery.form == Form::First));
    client.answer(ExtensionConfig, change(&[], &[]), None);
    client.stream.retry();
    client.settle();
    assert_eq!(client.stream.retry_in(), None);

    client.update(&snapshot(&[(ExtensionConfig, &[("f", "2"), ("g", "1")])]));
    let (mut delays, mut forms) = (Vec::new(), Vec::new());
    loop {
        let sent = client.next().unwrap();
        assert_eq!(Client::said(&sent), said(ExtensionConfig, &["f"], &[]));
        let form = sent.resources[0].form;
        assert!(form != Form::First, "it has one that works, and must keep it until the new one does");
        assert!(!forms.contains(&form), "Envoy does not look at the same bytes twice");
        forms.push(form);
        client.answer(ExtensionConfig, change(&[], &[]), Some("Unable to create Wasm plugin"));
        assert_eq!(client.due(), []);
        let Some(delay) = client.stream.retry_in() else { break };
        delays.push(delay);
        client.stream.retry();
    }
    assert!(delays.is_sorted() && delays.len() < 10, "{delays:?}");

    // Something new is tried from the start, and an acceptance ends it.
    client.update(&snapshot(&[(ExtensionConfig, &[("f", "3"), ("g", "1")])]));
    client.next();
    client.answer(ExtensionConfig, change(&[], &[]), Some("Unable to create Wasm plugin"));
    assert_eq!(client.stream.retry_in(), Some(delays[0]));
    client.stream.retry();
    client.next();
    client.answer(ExtensionConfig, change(&[], &[]), None);
    assert_eq!(client.stream.retry_in(), None);
}

#[test]
fn a_filter_accepted_in_its_first_form_is_confirmed_as_an_update() {
    let filter = |content| snapshot(&[(ExtensionConfig, &[("f", content)])]);
    let mut client = Client::delta(&filter("1"));
    client.ask(ExtensionConfig, change(&["f"], &[]));
    assert_eq!(client.next().unwrap().resources[0].form, Form::First);
    client.answer(ExtensionConfig, change(&[], &[]), None);
    assert_eq!(client.stream.retry_in(), Some(Duration::from_secs(1)));
    assert_eq!(client.due(), []);
    client.stream.retry();
    assert_eq!(client.next().unwrap().resources[0].form, Form::Again(1));
    client.answer(ExtensionConfig, change(&[], &[]), None);
    assert_eq!((client.stream.retry_in(), client.due()), (None, vec![]));

    // An edit that comes first does the same.
    let mut client = Client::delta(&filter("1"));
    client.ask(ExtensionConfig, change(&["f"], &[]));
    client.next();
    client.answer(ExtensionConfig, change(&[], &[]), None);
    client.update(&filter("2"));
    assert_eq!(client.next().unwrap().resources[0].form, Form::Update);
    client.answer(ExtensionConfig, change(&[], &[]), None);
    assert_eq!(client.stream.retry_in(), None);
}

#[test]
fn a_reconnected_proxy_has_a_filter_that_must_keep_working() {
    let now = snapshot(&[(ExtensionConfig, &[("f", "2"), ("new", "1")])]);
    let mut client = Client::delta(&now);
    client.ask(ExtensionConfig, holding(&["f", "new"], &[("f", "another version")]));
    let mut forms = Vec::new();
    for delivery in
        client.stream.respond().into_iter().chain(client.stream.respond()).flat_map(|r| r.resources)
    {
        forms.push((delivery.name().to_string(), delivery.form));
    }
    forms.sort_by(|one, other| one.0.cmp(&other.0));
    // It may have refused this very version on the stream before.
    assert_eq!(forms, [("f".to_owned(), Form::Again(1)), ("new".to_owned(), Form::First)]);

    let mut client = Client::state(&now);
    client.ask(ExtensionConfig, Interest::Exactly { names: names(&["f"]), version: "another".into() });
    assert_eq!(client.next().unwrap().resources[0].form, Form::Again(1));
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

#[test]
fn line_30_a_filter_is_not_removed_as_long_as_it_is_subscribed() {
    let mut client = Client::delta(&snapshot(&[(Listener, &[("l", "1")]), (ExtensionConfig, &[("f", "1")])]));
    client.ask(Listener, change(&[], &[]));
    client.ask(ExtensionConfig, change(&["f"], &[]));
    client.settle();
    client.update(&snapshot(&[(Listener, &[("l", "2")])]));
    assert_eq!(client.due(), [said(Listener, &["l"], &[])]);
    client.answer(Listener, change(&[], &[]), Some("no"));
    assert_eq!(client.due(), []);
    client.update(&snapshot(&[]));
    assert_eq!(client.due(), [said(Listener, &[], &["l"])]);
    client.answer(Listener, change(&[], &[]), None);
    // Connections that the listener still drains use it, until Envoy unsubscribes.
    assert_eq!(client.due(), []);
    client.ask(ExtensionConfig, change(&[], &["f"]));
    assert_eq!(client.due(), []);
    client.ask(ExtensionConfig, change(&["f"], &[]));
    assert_eq!(client.due(), [said(ExtensionConfig, &[], &["f"])]);
}

#[test]
fn line_33_a_client_that_does_not_answer_gets_the_newest_state_when_it_does() {
    let mut client = Client::delta(&snapshot(&[(ExtensionConfig, &[("f", "1")])]));
    client.ask(ExtensionConfig, change(&["f"], &[]));
    assert_eq!(client.due().len(), 1);
    for content in ["2", "3", "4"] {
        client.update(&snapshot(&[(ExtensionConfig, &[("f", content)])]));
        assert_eq!(client.due(), []);
    }
    client.answer(ExtensionConfig, change(&[], &[]), None);
    let newest = snapshot(&[(ExtensionConfig, &[("f", "4")])]);
    let sent = client.next().unwrap();
    assert_eq!(sent.resources[0].version().to_string(), version(ExtensionConfig, &newest, "f"));
    client.answer(ExtensionConfig, change(&[], &[]), None);
    assert_eq!(client.due(), []);
}

#[test]
fn line_33_a_client_that_only_asks_and_never_answers_is_not_answered_for_ever() {
    let mut client = Client::delta(&snapshot(&[(Endpoints, &[("a", "1")])]));
    let mut answers = 0;
    for _ in 0..1_000 {
        client.ask(Endpoints, change(&["a"], &[]));
        answers += client.due().len();
    }
    assert!(answers < 10, "{answers}");
    // An answer to the last response counts for all before it.
    client.answer(Endpoints, change(&[], &[]), None);
    assert_eq!(client.due(), [said(Endpoints, &["a"], &[])]);
}

#[test]
fn line_34_locators_are_refused_in_words() {
    for wanted in ["xdstp://authority/envoy.config.cluster.v3.Cluster/a", "xdstp:///x"] {
        let mut client = Client::delta(&snapshot(&[]));
        let request = Client::request(Cluster, "", change(&[wanted], &[]), None);
        assert_eq!(client.stream.receive(request), Err(StreamError::Locator));
    }
    let mut client = Client::delta(&snapshot(&[]));
    let request = Request { locators: true, ..Client::request(Cluster, "", change(&[], &[]), None) };
    assert_eq!(client.stream.receive(request), Err(StreamError::Locator));
}

#[test]
fn what_a_client_makes_this_process_remember_is_bounded() {
    let mut client = Client::delta(&snapshot(&[]));
    let long = "n".repeat(MAX_NAME_LENGTH + 1);
    let request = Client::request(Cluster, "", change(&[&long], &[]), None);
    assert_eq!(client.stream.receive(request), Err(StreamError::TooManyNames));

    let mut last = Ok(Event::Changed(Route));
    for start in (0..=MAX_NAMES).step_by(10_000) {
        let many: Vec<_> = (start..start + 10_000).map(|number| number.to_string()).collect();
        let interest = Interest::Change { subscribe: many, unsubscribe: Vec::new(), holds: HashMap::new() };
        last = client.stream.receive(Client::request(Route, "", interest, None));
    }
    assert_eq!(last, Err(StreamError::TooManyNames));
}

#[test]
fn a_change_in_the_middle_of_a_push_replaces_what_was_not_sent_yet() {
    let mut client = Client::delta(&snapshot(&[(Cluster, &[("a", "1")]), (Route, &[("r", "1")])]));
    client.ask(Cluster, change(&[], &[]));
    client.ask(Route, change(&["r"], &[]));
    client.settle();
    client.update(&snapshot(&[(Cluster, &[("a", "1"), ("b", "1")]), (Route, &[("r", "2")])]));
    assert_eq!(client.due(), [said(Cluster, &["b"], &[])]);
    // Taken back before the routes went out: they never change, and the new cluster goes again.
    client.update(&snapshot(&[(Cluster, &[("a", "1")]), (Route, &[("r", "1")])]));
    assert_eq!(client.due(), []);
    client.answer(Cluster, change(&[], &[]), None);
    assert_eq!(client.due(), [said(Cluster, &[], &["b"])]);
}
