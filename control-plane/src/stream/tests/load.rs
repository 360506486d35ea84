//! Behaviour under load, and what is refused.

use super::*;

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
