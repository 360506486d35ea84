//! Configurations of filters, whose module a proxy may have yet to download.

use super::*;

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
