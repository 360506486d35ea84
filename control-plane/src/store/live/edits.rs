//! What files that differ mean for the documents in them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::corpus::Changes;
use crate::store::accepted::{Key, Stored};
use crate::store::directory::Files;
use crate::store::history::{Edit, Edits};

/// The files that differ.
pub(super) fn changed(before: &Files, after: &Files) -> Changes {
    let mut changes = Changes::new();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    // Both are in the order of paths, so one pass tells: looking up ten thousand paths takes longer than reading a file.
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) if Arc::ptr_eq(one, other) => Ordering::Equal,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        match (was, is) {
            (Some((_, was)), Some((_, is))) if Arc::ptr_eq(was, is) || was.digest == is.digest => {}
            (_, Some((path, is))) => drop(changes.insert(path.to_path_buf(), Some(Arc::clone(&is.contents)))),
            (Some((path, _)), None) => drop(changes.insert(path.to_path_buf(), None)),
            (None, None) => {}
        }
    }
}

/// The texts of all documents.
pub(super) fn texts(files: &Files) -> BTreeMap<Key, Arc<str>> {
    let documents = files.values().flat_map(|seen| &seen.contents.documents);
    documents.map(|document| ((document.kind, document.name.clone()), document.text().into())).collect()
}

/// What made some documents others.
pub(super) fn between(before: &BTreeMap<Key, Stored>, after: &BTreeMap<Key, Arc<str>>) -> Edits {
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    let gone =
        gone.map(|(key, stored)| (key.clone(), Edit { before: Some(Arc::clone(&stored.text)), after: None }));
    let new = after.iter().filter_map(|(key, text)| {
        let before = before.get(key).map(|stored| Arc::clone(&stored.text));
        (before.as_ref() != Some(text)).then(|| (key.clone(), Edit { before, after: Some(Arc::clone(text)) }))
    });
    gone.chain(new).collect()
}

/// What a change of files that hold these documents does to them.
pub(super) fn of(files: &Files, changes: &Changes) -> Edits {
    let mut edits = Edits::new();
    for path in changes.keys() {
        for document in files.get(path.as_path()).iter().flat_map(|seen| &seen.contents.documents) {
            let before = Some(document.text().into());
            edits.insert((document.kind, document.name.clone()), Edit { before, after: None });
        }
    }
    for document in changes.values().flatten().flat_map(|contents| &contents.documents) {
        let edit =
            edits.entry((document.kind, document.name.clone())).or_insert(Edit { before: None, after: None });
        edit.after = Some(document.text().into());
    }
    edits.retain(|_, edit| edit.before != edit.after);
    edits
}

/// The documents with edits made, as a revision.
pub(super) fn made(
    mut documents: BTreeMap<Key, Stored>,
    edits: &Edits,
    revision: u64,
) -> BTreeMap<Key, Stored> {
    for (key, edit) in edits {
        match &edit.after {
            Some(text) => {
                let stored = Stored { text: Arc::clone(text), revision };
                drop(documents.insert(key.clone(), stored));
            }
            None => drop(documents.remove(key)),
        }
    }
    documents
}
