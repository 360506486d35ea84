//! Documents of this machine, as commands send them.

use std::path::Path;

use anyhow::Context as _;

use super::output::print_errors;
use crate::api::Text;
use crate::model::Model;
use crate::store::{Diagnostics, FileStore, LoadError, Raw};

/// The documents of a directory. `None` if they have errors, which have been shown.
pub(super) fn load(dir: &Path) -> anyhow::Result<Option<Model>> {
    shown(FileStore::new(dir).load())
}

/// The files below a directory, or one file. `None` if some cannot be read, which has been said.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Vec<Raw>>> {
    let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    if !metadata.is_dir() {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        return Ok(Some(vec![Raw { name: path.to_owned(), bytes }]));
    }
    shown(FileStore::new(path).files())
}

fn shown<T>(loaded: Result<T, LoadError>) -> anyhow::Result<Option<T>> {
    match loaded {
        Ok(found) => Ok(Some(found)),
        Err(LoadError::Invalid(diagnostics)) => {
            print_errors(diagnostics);
            Ok(None)
        }
        Err(error @ LoadError::Unavailable { .. }) => Err(error.into()),
    }
}

/// Files as the API takes them. `None` if some are no text, which has been said with the place.
pub(super) fn texts(raws: Vec<Raw>) -> Option<Vec<Text>> {
    let mut texts = Vec::new();
    let mut diagnostics = Vec::new();
    for Raw { name, bytes } in raws {
        match String::from_utf8(bytes) {
            Ok(text) => texts.push(Text { name: name.display().to_string(), text }),
            Err(error) => {
                diagnostics.extend(crate::document::read(name, error.as_bytes()).diagnostics);
            }
        }
    }
    if diagnostics.is_empty() {
        return Some(texts);
    }
    print_errors(Diagnostics(diagnostics));
    None
}
