//! Documents to a model: whether what they say about each other holds, with every error that there is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Model;
use super::dependencies::{Dependencies, Dependency};
use crate::document::kind::{Gateway, Kind, Route, Spec};
use crate::document::{Contents, Diagnostic, Document, MAX_PROBLEMS, Step, suggest_name};
use crate::keychain::Keychain;

mod backend;
mod certificate;
mod gateway;
mod policy;
mod proxyless;
mod route;

/// The way to a field of a document.
macro_rules! steps {
    ($($step:expr),* $(,)?) => { &[$($crate::document::Step::from($step)),*][..] };
}
use steps;

/// Looking for a near name takes time for each one that exists; a flood of errors needs no hints.
const MAX_SUGGESTIONS: usize = 100;

/// How many items of one list are compared where that takes a search for each.
const MAX_SEARCHED: usize = 5_000;

impl Model {
    /// Makes a model of files' contents, or says everything that is wrong with them, in the order of files and lines.
    ///
    /// Of documents of one kind and name, in whatever files, all but the first are errors.
    pub fn build(contents: impl IntoIterator<Item = Contents>) -> Result<Self, Vec<Diagnostic>> {
        let contents: Vec<_> = contents.into_iter().collect();
        whole(contents.iter(), &Keychain::default()).map(|Whole { model, .. }| model)
    }

    /// The same of contents that others use too, with what is in the files that they name.
    pub(crate) fn of(
        contents: impl IntoIterator<Item = Arc<Contents>>,
        keychain: &Keychain,
    ) -> Result<Self, Vec<Diagnostic>> {
        let contents: Vec<_> = contents.into_iter().collect();
        whole(contents.iter().map(AsRef::as_ref), keychain).map(|Whole { model, .. }| model)
    }
}

/// A valid set of documents, and what is needed to check it again after a change.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) model: Model,
    pub(super) index: Index,
    /// On what the checks of each document depended.
    pub(super) dependencies: Dependencies,
}

/// Checks everything.
pub(super) fn whole<'c>(
    contents: impl IntoIterator<Item = &'c Contents>,
    keychain: &Keychain,
) -> Result<Whole, Vec<Diagnostic>> {
    let mut whole = Whole::default();
    let mut diagnostics = Vec::new();
    let mut twice = Vec::new();
    let mut all = Vec::new();
    let mut has_nameless = false;
    for file in contents {
        diagnostics.extend(file.diagnostics.iter().cloned());
        has_nameless |= file.has_nameless;
        for document in &file.documents {
            all.push(document);
            if whole.index.get(document.kind, &document.name).is_some() {
                twice.push(document);
            } else {
                whole.index.put(Arc::clone(document));
            }
        }
    }
    let mut check = Check::new(&whole.index, keychain, has_nameless);
    for document in twice {
        check.twice(document);
    }
    gateway::ports(&mut check);
    proxyless::fleets(&mut check);
    policy::route_keys(&mut check);
    for document in &all {
        check.document(document);
        whole.dependencies.set(document.kind, &document.name, check.take_dependencies());
    }
    // Whoever has to read a thousand errors is not helped by what follows from them.
    if check.diagnostics.is_empty() && diagnostics.is_empty() && !has_nameless {
        for document in &all {
            whole.model.put(document);
        }
        whole.model.fill(keychain);
        for gateway in whole.model.gateways.keys() {
            policy::whole(&mut check, &whole.model, gateway);
        }
    }
    diagnostics.extend(check.diagnostics);
    if diagnostics.is_empty() {
        return Ok(whole);
    }
    diagnostics.sort_by(|a, b| a.position().cmp(&b.position()));
    diagnostics.dedup();
    Err(diagnostics)
}

/// Whether a set that was valid still is, after some documents have changed. `index` and the second model have the change already. What exactly
/// is wrong only checking everything tells.
pub(super) fn is_still_valid(
    index: &Index,
    keychain: &Keychain,
    (before, model): (&Model, &Model),
    documents: &[&Document],
    kinds: &BTreeSet<Kind>,
    gateways: &BTreeSet<String>,
    mut keep: impl FnMut(&Document, Vec<Dependency>),
) -> bool {
    let mut check = Check::new(index, keychain, false);
    if kinds.contains(&Kind::Gateway) {
        gateway::ports(&mut check);
        proxyless::fleets(&mut check);
    }
    if kinds.contains(&Kind::TrafficPolicy) {
        policy::route_keys(&mut check);
    }
    for document in documents {
        check.take_dependencies();
        check.document(document);
        keep(document, check.take_dependencies());
    }
    let same = |gateway: &str| {
        before.gateways.contains_key(gateway) && before.enforced(gateway) == model.enforced(gateway)
    };
    for gateway in gateways.iter().filter(|name| model.gateways.contains_key(*name) && !same(name)) {
        policy::whole(&mut check, model, gateway);
    }
    check.diagnostics.is_empty()
}

/// The documents by kind and name.
#[derive(Debug, Default)]
pub(super) struct Index {
    kinds: BTreeMap<Kind, BTreeMap<String, Arc<Document>>>,
}

impl Index {
    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Document>> {
        self.kinds.get(&kind)?.get(name)
    }

    pub(super) fn put(&mut self, document: Arc<Document>) {
        self.kinds.entry(document.kind).or_default().insert(document.name.clone(), document);
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        if let Some(names) = self.kinds.get_mut(&kind) {
            names.remove(name);
        }
    }
}

/// The documents by name, and what was found.
///
/// Checks look at other documents only through the methods of this type, which note what was looked at.
struct Check<'a> {
    index: &'a Index,
    keychain: &'a Keychain,
    has_nameless: bool,
    diagnostics: Vec<Diagnostic>,
    /// How many errors were reported for each document.
    reported: BTreeMap<(Kind, String), usize>,
    dependencies: RefCell<BTreeSet<Dependency>>,
}

/// Where a reference leads.
enum Target<T> {
    /// To a document and, where one is named, a section of it.
    Found(T),
    /// Nowhere, or to something that has errors itself. Whatever had to be reported was.
    Unknown,
}

impl<'a> Check<'a> {
    fn new(index: &'a Index, keychain: &'a Keychain, has_nameless: bool) -> Self {
        Self {
            index,
            keychain,
            has_nameless,
            diagnostics: Vec::new(),
            reported: BTreeMap::new(),
            dependencies: RefCell::default(),
        }
    }

    fn document(&mut self, document: &Document) {
        match &document.spec {
            Some(Spec::Gateway(gateway)) => gateway::check(self, document, gateway),
            Some(Spec::Route(route)) => route::check(self, document, route),
            Some(Spec::Backend(backend)) => backend::check(self, document, backend),
            Some(Spec::TrafficPolicy(policy)) => policy::check(self, document, policy),
            Some(Spec::Certificate(certificate)) => certificate::check(self, document, certificate),
            None => {}
        }
    }

    fn twice(&mut self, document: &Document) {
        let Some(first) = self.find(document.kind, &document.name) else { return };
        let path = steps!["metadata", "name"];
        let message =
            format!("there is a {} of this name already, at {}", document.kind, first.location(path));
        self.report(document, path, message, None);
    }

    fn take_dependencies(&mut self) -> Vec<Dependency> {
        std::mem::take(self.dependencies.get_mut()).into_iter().collect()
    }

    fn find(&self, kind: Kind, name: &str) -> Option<&'a Document> {
        self.dependencies.borrow_mut().insert(Dependency::One(kind, name.into()));
        self.index.get(kind, name).map(AsRef::as_ref)
    }

    fn all(&self, kind: Kind) -> impl Iterator<Item = &'a Document> + Clone + use<'a> {
        self.dependencies.borrow_mut().insert(Dependency::All(kind));
        self.index.kinds.get(&kind).into_iter().flat_map(|names| names.values().map(AsRef::as_ref))
    }

    fn gateways(&self) -> impl Iterator<Item = (&'a Document, &'a Gateway)> + use<'a> {
        self.all(Kind::Gateway).filter_map(|document| match &document.spec {
            Some(Spec::Gateway(gateway)) => Some((document, gateway.as_ref())),
            _ => None,
        })
    }

    fn gateway(&self, name: &str) -> Option<&'a Gateway> {
        match &self.find(Kind::Gateway, name)?.spec {
            Some(Spec::Gateway(gateway)) => Some(gateway),
            _ => None,
        }
    }

    fn route(&self, name: &str) -> Option<&'a Route> {
        match &self.find(Kind::Route, name)?.spec {
            Some(Spec::Route(route)) => Some(route),
            _ => None,
        }
    }

    fn report(
        &mut self,
        document: &Document,
        path: &[Step],
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let reported = self.reported.entry((document.kind, document.name.clone())).or_default();
        if *reported >= MAX_PROBLEMS {
            return;
        }
        let message = if *reported + 1 == MAX_PROBLEMS {
            format!("more than {MAX_PROBLEMS} errors: the rest is not shown")
        } else {
            message.into()
        };
        if let Some(diagnostic) = document.problem(path, message, help) {
            *reported += 1;
            self.diagnostics.push(diagnostic);
        }
    }

    /// Follows a reference to a document and one of its sections; `path` leads to the reference.
    fn resolve(
        &mut self,
        document: &Document,
        path: &[Step],
        kind: Kind,
        name: &str,
        section: Option<&str>,
    ) -> Target<&'a Document> {
        let Some(target) = self.find(kind, name) else {
            // The name may be that of a document that cannot be read.
            if !self.has_nameless {
                let help = self.suggest(name, self.all(kind).map(|document| document.name.as_str()));
                self.report(
                    document,
                    &[path, steps!["name"]].concat(),
                    format!("there is no {kind} `{name}`"),
                    help,
                );
            }
            return Target::Unknown;
        };
        let Some(section) = section else { return Target::Found(target) };
        let (what, sections) = match &target.spec {
            Some(Spec::Gateway(gateway)) => {
                ("listener", gateway.listeners.iter().map(|listener| listener.name.as_str()).collect())
            }
            Some(Spec::Route(route)) => ("rule", route.rules.iter().map(|rule| rule.name.as_str()).collect()),
            _ => ("section", Vec::new()),
        };
        if sections.contains(&section) {
            return Target::Found(target);
        }
        // The section may be the one that has an error.
        if !target.has_errors {
            let help = self.suggest(section, sections.into_iter());
            let message = format!("the {kind} `{name}` has no {what} `{section}`");
            self.report(document, &[path, steps!["sectionName"]].concat(), message, help);
        }
        Target::Unknown
    }

    fn suggest<'n>(&self, name: &str, existing: impl Iterator<Item = &'n str> + Clone) -> Option<String> {
        (self.diagnostics.len() < MAX_SUGGESTIONS).then(|| suggest_name(name, existing))?
    }

    /// Reports every item of a list whose key was there before. The key is made of some fields of the item, of which the first is the
    /// place to report; of the whole item if none are given.
    fn unique<K: Ord>(
        &mut self,
        document: &Document,
        items: impl IntoIterator<Item = (K, Vec<Step>)>,
        fields: &[&'static str],
        message: impl Fn(&K) -> String,
    ) {
        let mut seen = BTreeMap::<K, Vec<Step>>::new();
        // In a document with errors each item has to be searched; what a list beyond any use repeats can wait until they are gone.
        let limit = if document.has_errors { MAX_SEARCHED } else { usize::MAX };
        for (key, item) in items.into_iter().take(limit) {
            if !document.is_sound(&item, fields) {
                continue;
            }
            let path =
                item.into_iter().chain(fields.first().map(|field| Step::Field(field))).collect::<Vec<_>>();
            if let Some(first) = seen.get(&key) {
                let message = message(&key);
                let help = format!("the first is at {}", document.location(first.as_slice()));
                self.report(document, &path, message, Some(help));
            } else {
                seen.insert(key, path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
