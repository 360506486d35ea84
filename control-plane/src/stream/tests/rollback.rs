//! What a proxy has tried is taken back: the very snapshot that it had before comes again.

use super::*;

const WEB: (&str, &str) = ("web", "1");

#[test]
fn delta_what_was_tried_is_replaced_or_removed() {
    let before = snapshot(&[(Listener, &[WEB])]);
    let tried = snapshot(&[(Listener, &[("web", "2"), ("bad", "1")])]);
    for error in [None, Some("no")] {
        let mut client = Client::delta(&before);
        client.ask(Listener, change(&[], &[]));
        client.settle();
        client.update(&tried);
        assert_eq!(client.due(), [said(Listener, &["bad", "web"], &[])]);
        client.answer(Listener, change(&[], &[]), error);
        assert_eq!(client.stream.refuses(Listener), error.is_some());
        client.update(&before);
        assert_eq!(client.settle(), [said(Listener, &["web"], &[]), said(Listener, &[], &["bad"])]);
        assert!(!client.stream.refuses(Listener));
    }
}

#[test]
fn state_of_the_world_what_was_tried_is_no_longer_said() {
    let before = snapshot(&[(Listener, &[WEB])]);
    let tried = snapshot(&[(Listener, &[WEB, ("bad", "1")])]);
    for error in [None, Some("no")] {
        let mut client = Client::state(&before);
        client.ask(Listener, exactly(&[]));
        client.settle_names(&[]);
        client.update(&tried);
        assert_eq!(client.due(), [said(Listener, &["bad", "web"], &[])]);
        client.answer(Listener, exactly(&[]), error);
        client.update(&before);
        assert_eq!(client.settle_names(&[]).last(), Some(&said(Listener, &["web"], &["bad"])));
        assert!(!client.stream.refuses(Listener));
    }
}
