//! New texts for files: documents replaced, removed and added, with everything around them left as it is. Comments before a document are
//! replaced only by others: a text that has none says nothing about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::accepted::Key;
use super::directory::Files;
use crate::document::{Document, split};

/// What documents are to be: a text, or gone.
pub(super) type Wanted = BTreeMap<Key, Option<Arc<str>>>;

/// Where a document stands.
pub(super) struct Standing<'f> {
    pub(super) path: &'f Path,
    pub(super) document: &'f Arc<Document>,
}

/// Every document of some files. Of those that are there twice, the first.
pub(super) fn index(files: &Files) -> BTreeMap<(crate::document::kind::Kind, &str), Standing<'_>> {
    let mut index = BTreeMap::new();
    for (path, seen) in files {
        for document in &seen.contents.documents {
            index
                .entry((document.kind, document.name.as_str()))
                .or_insert_with(|| Standing { path, document });
        }
    }
    index
}

/// The new texts of those files that change; `None` for a file that is to be removed because no document is left in it.
pub(super) fn compose(dir: &Path, files: &Files, wanted: &Wanted) -> BTreeMap<PathBuf, Option<String>> {
    let index = index(files);
    let mut changed = BTreeMap::<&Path, Vec<(&Arc<Document>, Option<&str>)>>::new();
    let mut composed = BTreeMap::new();
    let mut taken: BTreeSet<Arc<Path>> = files.keys().cloned().collect();
    for ((kind, name), text) in wanted {
        match (index.get(&(*kind, name.as_str())), text) {
            (Some(Standing { path, document }), text) => {
                if text.as_deref().is_none_or(|text| text != document.text() && text != document.body()) {
                    changed.entry(path).or_default().push((document, text.as_deref()));
                }
            }
            (None, Some(text)) => {
                let path = new_file(dir, &format!("{}-{name}", kind.name().to_lowercase()), &mut taken);
                composed.insert(path, Some(format!("{}\n", text.trim_end_matches(['\r', '\n']))));
            }
            (None, None) => {}
        }
    }
    for (path, edits) in changed {
        let Some((first, _)) = edits.first() else { continue };
        let text = first.file_text();
        let documents = files.get(path).map_or(0, |seen| seen.contents.documents.len());
        let removed = edits.iter().filter(|(_, text)| text.is_none()).count();
        let text = (removed < documents).then(|| edit(text, &edits));
        composed.insert(path.to_owned(), text);
    }
    composed
}

fn edit(text: &str, edits: &[(&Arc<Document>, Option<&str>)]) -> String {
    let ends_with_crlf = text
        .lines()
        .next()
        .is_some_and(|first| text.get(first.len()..).is_some_and(|end| end.starts_with("\r\n")));
    let mut edited = String::with_capacity(text.len());
    for segment in split(text) {
        let whole = text.get(segment.whole.clone()).unwrap_or_default();
        let edit = edits.iter().find(|(document, _)| document.segment() == &segment);
        match edit {
            None => edited.push_str(whole),
            Some((_, None)) => {}
            Some((_, Some(new))) => {
                let old = if new.starts_with('#') { segment.text(text) } else { segment.body(text) };
                let before = text.get(segment.whole.start..old.start).unwrap_or_default();
                edited.push_str(before);
                if segment.marker > 0 && !before.ends_with(['\n', '\r']) {
                    edited.push('\n');
                }
                let new = if ends_with_crlf {
                    new.replace("\r\n", "\n").replace('\n', "\r\n")
                } else {
                    (*new).to_owned()
                };
                edited.push_str(&new);
                if !edited.ends_with('\n') {
                    edited.push('\n');
                }
                edited.push_str(text.get(old.end..segment.whole.end).unwrap_or_default());
            }
        }
    }
    edited
}

fn new_file(dir: &Path, stem: &str, taken: &mut BTreeSet<Arc<Path>>) -> PathBuf {
    let mut path = dir.join(format!("{stem}.yaml"));
    let mut number = 2_u32;
    while taken.contains(path.as_path()) || path.symlink_metadata().is_ok() {
        path = dir.join(format!("{stem}-{number}.yaml"));
        number += 1;
    }
    taken.insert(path.as_path().into());
    path
}

#[cfg(test)]
mod tests;
