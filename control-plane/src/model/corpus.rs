//! A valid set of documents that changes: after an edit only what the edit can have affected is read and checked again.
//!
//! What a check looked at is noted while it runs (see `build`), so which documents an edit affects is known and not guessed. As soon
//! as anything might be wrong everything is checked from the start: errors come out the same either way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Model;
use super::build::{self, Whole};
use super::dependencies::Dependency;
use crate::document::kind::{Kind, Spec, TargetKind};
use crate::document::{Contents, Diagnostic, Document};
use crate::keychain::{Keychain, Reading};

/// Changed files: what stands in them now, or nothing if they are gone.
pub type Changes = BTreeMap<PathBuf, Option<Arc<Contents>>>;

/// The files of a valid set of documents with the model that they make.
#[derive(Debug, Default)]
pub struct Corpus {
    files: BTreeMap<PathBuf, Arc<Contents>>,
    whole: Whole,
    model: Arc<Model>,
    keychain: Keychain,
}

/// A change that leaves everything valid, but is not made before it is kept: dropped, it leaves no trace.
#[derive(Debug)]
pub struct Pending<'c> {
    corpus: &'c mut Corpus,
    changes: Changes,
    model: Arc<Model>,
    way: Way,
}

/// How it was found out that a change is valid.
#[derive(Debug)]
enum Way {
    /// What it affects was checked. The index has the change already.
    Step(Undo),
    /// Everything was.
    Whole(Box<Whole>),
    /// It is kept.
    Done,
}

/// Documents that a change takes away and brings, by kind and name.
#[derive(Default)]
struct Delta {
    old: BTreeMap<(Kind, String), Arc<Document>>,
    new: BTreeMap<(Kind, String), Arc<Document>>,
}

impl Corpus {
    /// An empty one, that reads the files that documents name.
    pub fn reading(reading: Reading) -> Self {
        Self { keychain: Keychain::new(reading), ..Self::default() }
    }

    /// What the documents mean.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The files and what stands in them.
    pub fn files(&self) -> &BTreeMap<PathBuf, Arc<Contents>> {
        &self.files
    }

    /// The keys that the documents name.
    pub(crate) fn keychain(&mut self) -> &mut Keychain {
        &mut self.keychain
    }

    /// Takes over what the keychain holds; whether that changed anything.
    pub(crate) fn refill(&mut self) -> bool {
        Arc::make_mut(&mut self.model).fill(&self.keychain)
    }

    /// What is wrong with the documents if some files are changed, but for files that they name.
    pub(crate) fn check_text(&self, changes: &Changes) -> Vec<Diagnostic> {
        self.check_everything(changes, &Keychain::default()).err().unwrap_or_default()
    }

    /// Checks a change of some files: the documents that it leaves have to be valid all together. Otherwise says everything that is wrong with them.
    pub fn begin(&mut self, changes: Changes) -> Result<Pending<'_>, Vec<Diagnostic>> {
        let (model, way) = if let Some((model, undo)) = self.try_change(&changes) {
            (model, Way::Step(undo))
        } else {
            let mut whole = self.check_everything(&changes, &self.keychain)?;
            (Arc::new(std::mem::take(&mut whole.model)), Way::Whole(Box::new(whole)))
        };
        Ok(Pending { corpus: self, changes, model, way })
    }

    /// Changes some files, if all documents are valid then. Otherwise says everything that is wrong and changes nothing.
    pub fn change(&mut self, changes: Changes) -> Result<Arc<Model>, Vec<Diagnostic>> {
        Ok(self.begin(changes)?.keep())
    }

    fn check_everything(&self, changes: &Changes, keychain: &Keychain) -> Result<Whole, Vec<Diagnostic>> {
        let kept = self.files.iter().filter(|(path, _)| !changes.contains_key(*path));
        let new = changes.iter().filter_map(|(path, contents)| Some((path, contents.as_ref()?)));
        let mut files: Vec<(&PathBuf, &Arc<Contents>)> = kept.chain(new).collect();
        files.sort_unstable_by_key(|(path, _)| *path);
        build::whole(files.into_iter().map(|(_, contents)| contents.as_ref()), keychain)
    }

    /// Makes a change to the index if it is certain to leave everything valid. Gives what it replaced.
    fn try_change(&mut self, changes: &Changes) -> Option<(Arc<Model>, Undo)> {
        if self.files.is_empty() {
            return None;
        }
        let delta = Delta::new(&self.files, changes)?;
        let is_duplicate = |key: &(Kind, String)| {
            !delta.old.contains_key(key) && self.whole.index.get(key.0, &key.1).is_some()
        };
        if delta.new.keys().any(is_duplicate) {
            return None;
        }
        let keys: BTreeSet<_> = delta.old.keys().chain(delta.new.keys()).cloned().collect();
        let mut model = Model::clone(&self.model);
        let mut undo = Undo::default();
        let mut gateways = gateways(&model, delta.old.values());
        for (kind, name) in &keys {
            model.remove(*kind, name);
            undo.documents.push((*kind, name.clone(), self.whole.index.get(*kind, name).cloned()));
            self.whole.index.remove(*kind, name);
        }
        for document in delta.new.values() {
            model.put(document);
            self.whole.index.put(Arc::clone(document));
        }
        gateways.extend(self::gateways(&model, delta.new.values()));
        let kinds = keys.iter().map(|(kind, _)| *kind).collect();
        let affected = self.affected(&keys, &kinds);
        let documents: Vec<_> = affected.iter().map(AsRef::as_ref).collect();
        let mut dependencies = Vec::new();
        let keep =
            |document: &Document, found| dependencies.push((document.kind, document.name.clone(), found));
        let (index, keychain) = (&self.whole.index, &self.keychain);
        let models = (&*self.model, &model);
        let is_valid = build::is_still_valid(index, keychain, models, &documents, &kinds, &gateways, keep);
        if !is_valid {
            self.undo(undo);
            return None;
        }
        model.fill(&self.keychain);
        let gone = delta.old.into_keys().filter(|key| !delta.new.contains_key(key));
        for (kind, name, found) in gone.map(|(kind, name)| (kind, name, Vec::new())).chain(dependencies) {
            let replaced = self.whole.dependencies.set(kind, &name, found);
            undo.dependencies.push((kind, name, replaced));
        }
        Some((Arc::new(model), undo))
    }

    /// The documents that have to be checked: the new ones and those whose checks looked at a changed one.
    fn affected(&self, keys: &BTreeSet<(Kind, String)>, kinds: &BTreeSet<Kind>) -> Vec<Arc<Document>> {
        let changed = keys.iter().map(|(kind, name)| Dependency::One(*kind, name.as_str().into()));
        let mut affected = BTreeMap::new();
        for looked_at in changed.chain(kinds.iter().map(|kind| Dependency::All(*kind))) {
            for (kind, name) in self.whole.dependencies.on(&looked_at) {
                affected.insert((*kind, &**name), self.whole.index.get(*kind, name));
            }
        }
        affected.extend(
            keys.iter().map(|(kind, name)| ((*kind, name.as_str()), self.whole.index.get(*kind, name))),
        );
        affected.into_values().flatten().map(Arc::clone).collect()
    }

    fn undo(&mut self, Undo { documents, dependencies }: Undo) {
        for (kind, name, document) in documents.into_iter().rev() {
            match document {
                Some(document) => self.whole.index.put(document),
                None => self.whole.index.remove(kind, &name),
            }
        }
        for (kind, name, found) in dependencies.into_iter().rev() {
            self.whole.dependencies.set(kind, &name, found);
        }
    }
}

impl Pending<'_> {
    /// What the documents mean with the change.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Makes the change.
    pub fn keep(mut self) -> Arc<Model> {
        if let Way::Whole(whole) = std::mem::replace(&mut self.way, Way::Done) {
            self.corpus.whole = *whole;
        }
        self.corpus.model = Arc::clone(&self.model);
        for (path, contents) in std::mem::take(&mut self.changes) {
            match contents {
                Some(contents) => drop(self.corpus.files.insert(path, contents)),
                None => drop(self.corpus.files.remove(&path)),
            }
        }
        Arc::clone(&self.model)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Way::Step(undo) = std::mem::replace(&mut self.way, Way::Done) {
            self.corpus.undo(undo);
        }
    }
}

/// What an index was before a change.
#[derive(Debug, Default)]
struct Undo {
    documents: Vec<(Kind, String, Option<Arc<Document>>)>,
    dependencies: Vec<(Kind, String, Vec<Dependency>)>,
}

impl Delta {
    /// `None` if something in the changed files is wrong by itself.
    fn new(files: &BTreeMap<PathBuf, Arc<Contents>>, changes: &Changes) -> Option<Self> {
        let mut delta = Self::default();
        for (path, contents) in changes {
            for document in documents(files, path) {
                delta.old.insert((document.kind, document.name.clone()), Arc::clone(document));
            }
            let Some(contents) = contents else { continue };
            if contents.has_nameless || !contents.diagnostics.is_empty() {
                return None;
            }
            for document in &contents.documents {
                let key = (document.kind, document.name.clone());
                if delta.new.insert(key, Arc::clone(document)).is_some() {
                    return None;
                }
            }
        }
        // What only moved, within its file or to another, means what it meant.
        Some(delta)
    }
}

fn documents<'f>(
    files: &'f BTreeMap<PathBuf, Arc<Contents>>,
    path: &Path,
) -> impl Iterator<Item = &'f Arc<Document>> {
    files.get(path).into_iter().flat_map(|contents| &contents.documents)
}

/// The Gateways whose filter may get another configuration from a change of some documents.
fn gateways<'d>(model: &Model, documents: impl Iterator<Item = &'d Arc<Document>>) -> BTreeSet<String> {
    let mut gateways = BTreeSet::new();
    let parents = |name: &str| {
        let route = model.routes.get(name).into_iter();
        route.flat_map(|route| &route.parent_refs).map(|parent| parent.name.clone()).collect::<Vec<_>>()
    };
    for document in documents {
        match &document.spec {
            Some(Spec::Gateway(_)) => drop(gateways.insert(document.name.clone())),
            Some(Spec::Route(_)) => gateways.extend(parents(&document.name)),
            Some(Spec::TrafficPolicy(policy)) => {
                for target in &policy.target_refs {
                    match target.kind {
                        TargetKind::Gateway => drop(gateways.insert(target.name.clone())),
                        TargetKind::Route => gateways.extend(parents(&target.name)),
                    }
                }
            }
            Some(Spec::Backend(_) | Spec::Certificate(_)) | None => {}
        }
    }
    gateways
}

#[cfg(test)]
pub(crate) mod tests;
