use std::fs;

use tempfile::TempDir;

use super::*;
use crate::document::kind::Kind;

fn signature(time: u64) -> Signature {
    Signature { time, author: "ann".into(), message: "why".into(), origin: Origin::Api }
}

/// Adds a revision in which a Backend is this text, or gone.
fn add(history: &mut History, name: &str, text: Option<&str>) -> u64 {
    let key = (Kind::Backend, name.to_owned());
    let before = history.documents().remove(&key).map(|stored| stored.text);
    let edit = Edit { before, after: text.map(Into::into) };
    history.add(signature(1_000), [(key, edit)].into()).unwrap()
}

fn texts(history: &History) -> Vec<(String, String, u64)> {
    let documents = history.documents().into_iter();
    documents.map(|((_, name), stored)| (name, stored.text.to_string(), stored.revision)).collect()
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut history = History::kept_in(dir.path()).unwrap();
    assert_eq!(add(&mut history, "a", Some("a: 1\n")), 1);
    assert_eq!(add(&mut history, "b", Some("b: \"\u{1F600}\n\n\"\n")), 2);
    assert_eq!(add(&mut history, "a", Some("a: 2\n")), 3);
    assert_eq!(add(&mut history, "b", None), 4);
    let (texts_before, revisions) = (texts(&history), history.revisions(&(1..=9)));
    drop(history);
    let history = History::kept_in(dir.path()).unwrap();
    assert_eq!(texts(&history), texts_before);
    assert_eq!(history.revisions(&(1..=9)), revisions);
    assert_eq!(texts_before, [("a".into(), "a: 2\n".into(), 3)]);
    assert_eq!(revisions[1].changes[0].fields[0].to_string(), "a: 1 -> 2");
    assert_eq!(history.kept().newest, 4);
}

#[test]
fn two_processes_do_not_share_a_state_directory() {
    let dir = TempDir::new().unwrap();
    let first = History::kept_in(dir.path()).unwrap();
    assert!(matches!(History::kept_in(dir.path()), Err(LogError::InUse { .. })));
    drop(first);
    History::kept_in(dir.path()).unwrap();
}

#[test]
fn a_last_record_that_was_cut_short_is_dropped_wherever_it_was_cut() {
    let dir = TempDir::new().unwrap();
    let mut history = History::kept_in(dir.path()).unwrap();
    add(&mut history, "a", Some("a: 1\n"));
    let whole = fs::metadata(dir.path().join("history.jsonl")).unwrap().len();
    add(&mut history, "a", Some("a: 2\n"));
    drop(history);
    let bytes = fs::read(dir.path().join("history.jsonl")).unwrap();
    for cut in usize::try_from(whole).unwrap()..bytes.len() {
        fs::write(dir.path().join("history.jsonl"), &bytes[..cut]).unwrap();
        let mut history = History::kept_in(dir.path()).unwrap();
        assert_eq!(texts(&history), [("a".into(), "a: 1\n".into(), 1)], "cut at {cut}");
        assert_eq!(add(&mut history, "a", Some("a: 3\n")), 2);
        drop(history);
        assert_eq!(texts(&History::kept_in(dir.path()).unwrap()), [("a".into(), "a: 3\n".into(), 2)]);
    }
}

#[test]
fn a_record_that_is_wrong_in_the_middle_is_refused_with_its_line() {
    let dir = TempDir::new().unwrap();
    let mut history = History::kept_in(dir.path()).unwrap();
    add(&mut history, "a", Some("a: 1\n"));
    add(&mut history, "a", Some("a: 2\n"));
    drop(history);
    let path = dir.path().join("history.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("a: 1", "a: 7", 1)).unwrap();
    let error = History::kept_in(dir.path()).unwrap_err().to_string();
    assert!(error.contains("history.jsonl:2: not what spillway writes there"), "{error}");
}

#[test]
fn only_so_many_revisions_are_kept_and_the_documents_stay_what_they_are() {
    let dir = TempDir::new().unwrap();
    let mut history = History::kept_in(dir.path()).unwrap().keeping(3);
    add(&mut history, "old", Some("old: 1\n"));
    for n in 0..4 {
        add(&mut history, "a", Some(&format!("a: {n}\n")));
    }
    assert_eq!(history.kept().oldest, 1);
    add(&mut history, "a", Some("a: 4\n"));
    assert_eq!((history.kept().oldest, history.kept().newest), (4, 6));
    assert!(history.revisions(&(1..=3)).is_empty());
    assert!(history.back_to(2).is_none());
    assert_eq!(history.back_to(3).unwrap()[&(Kind::Backend, "a".to_owned())].as_deref(), Some("a: 1\n"));
    add(&mut history, "a", Some("a: 5\n"));
    let expected = texts(&history);
    drop(history);
    let history = History::kept_in(dir.path()).unwrap();
    assert_eq!(texts(&history), expected);
    assert_eq!((history.kept().oldest, history.kept().newest), (4, 7));
    assert!(!dir.path().join("history.jsonl.new").exists());
}

#[test]
fn a_clock_that_was_set_back_does_not_change_the_order() {
    let mut history = History::in_memory();
    for time in [5_000, 1_000, 6_000] {
        history.add(signature(time), Edits::new()).unwrap();
    }
    let times: Vec<_> = history.revisions(&(1..=3)).into_iter().map(|r| (r.number, r.time)).collect();
    assert_eq!(times, [(3, 6_000), (2, 5_000), (1, 5_000)]);
}

#[test]
fn a_record_that_could_not_be_written_never_was() {
    let dir = TempDir::new().unwrap();
    let mut history = History::kept_in(dir.path()).unwrap();
    add(&mut history, "a", Some("a: 1\n"));
    // Opened for reading only, writing fails.
    let path = dir.path().join("history.jsonl");
    history.log.as_mut().unwrap().fail_with(fs::File::open(&path).unwrap());
    let error = history.add(signature(1), Edits::new()).unwrap_err();
    assert!(matches!(error, LogError::Io { .. }), "{error}");
    assert_eq!(history.newest(), 1);
    drop(history);
    assert_eq!(History::kept_in(dir.path()).unwrap().newest(), 1);
}

#[test]
fn what_was_taken_back_is_not_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut history = History::kept_in(dir.path()).unwrap();
    add(&mut history, "a", Some("a: 1\n"));
    add(&mut history, "a", Some("a: 2\n"));
    history.take_back();
    assert_eq!(history.newest(), 1);
    drop(history);
    assert_eq!(History::kept_in(dir.path()).unwrap().newest(), 1);
}
