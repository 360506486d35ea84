//! A copy of a directory of documents that a test (or the demo's user) edits.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// A directory of documents of which this process is one editor.
#[derive(Debug, Clone)]
pub struct Documents {
    folder: PathBuf,
}

impl Documents {
    /// An empty directory.
    pub fn empty(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Copies `from` to `to`, with every `port: A` of `ports` written as `port: B`; each must occur.
    pub fn copy(from: &Path, to: &Path, ports: &[(u16, u16)]) -> Result<Self> {
        let copy = Self::empty(to)?;
        let mut missing: Vec<_> = ports.to_vec();
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let path = entry?.path();
            if !path.is_file() {
                continue;
            }
            let name =
                path.file_name().and_then(|name| name.to_str()).context("a document without a name")?;
            let mut text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for &(old, new) in ports {
                let replaced = replace_port(&text, old, new);
                if replaced != text || old == new {
                    missing.retain(|pair| *pair != (old, new));
                }
                text = replaced;
            }
            copy.write(name, &text)?;
        }
        ensure!(missing.is_empty(), "no document of {} has the ports {missing:?}", from.display());
        Ok(copy)
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of one of its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What a file holds.
    pub fn read(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Puts a whole file in place at once, as careful editors do: readers see the old one or the new one.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let draft = self.folder.join(format!(".{name}.draft"));
        fs::write(&draft, text).with_context(|| format!("cannot write {}", draft.display()))?;
        let path = self.path(name);
        fs::rename(&draft, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Replaces each of `old`, which must occur once, by its partner in `new`, all in one write.
    pub fn edit(&self, name: &str, old: &[&str], new: &[&str]) -> Result<()> {
        ensure!(old.len() == new.len(), "{} replacements for {} places", new.len(), old.len());
        let mut text = self.read(name)?;
        for (old, new) in old.iter().zip(new) {
            let found = text.matches(old).count();
            ensure!(found == 1, "{name} has {old:?} {found} times, so it is not clear which to edit");
            text = text.replacen(old, new, 1);
        }
        self.write(name, &text)
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// Replaces `port: old`, where it is not only the beginning of a longer number.
fn replace_port(text: &str, old: u16, new: u16) -> String {
    let (pattern, replacement) = (format!("port: {old}"), format!("port: {new}"));
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(&pattern) {
        replaced.push_str(before);
        if after.starts_with(|next: char| next.is_ascii_digit()) {
            replaced.push_str(&pattern);
        } else {
            replaced.push_str(&replacement);
        }
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_replaced_whole() {
        assert_eq!(replace_port("{port: 80}\nport: 8081\nport: 80", 80, 9), "{port: 9}\nport: 8081\nport: 9");
    }

    #[test]
    fn an_edit_that_fits_no_place_or_two_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let documents = Documents::empty(folder.path()).unwrap();
        documents.write("a.yaml", "rate: 1/s\nrate: 1/s\nburst: 2\n").unwrap();
        assert!(documents.edit("a.yaml", &["rate: 1/s"], &["rate: 2/s"]).is_err());
        assert!(documents.edit("a.yaml", &["rate: 7/s"], &["rate: 2/s"]).is_err());
        documents.edit("a.yaml", &["burst: 2"], &["burst: 3"]).unwrap();
        assert_eq!(documents.read("a.yaml").unwrap(), "rate: 1/s\nrate: 1/s\nburst: 3\n");
    }
}
