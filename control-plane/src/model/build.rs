//! Documents to a model: whether what they say about each other holds, with every error that there is.

use std::collections::BTreeMap;

use super::Model;
use crate::document::kind::{Gateway, Kind, Route, Spec};
use crate::document::{Contents, Diagnostic, Document, Step, suggest_name};

mod backend;
mod gateway;
mod policy;
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
        let mut documents = Vec::new();
        let mut diagnostics = Vec::new();
        let mut has_nameless = false;
        for file in contents {
            documents.extend(file.documents);
            diagnostics.extend(file.diagnostics);
            has_nameless |= file.has_nameless;
        }
        diagnostics.extend(check(&documents, has_nameless));
        if !diagnostics.is_empty() {
            diagnostics.sort_by(|a, b| a.position().cmp(&b.position()));
            diagnostics.dedup();
            return Err(diagnostics);
        }
        let mut model = Self::default();
        for Document { name, spec, .. } in documents {
            match spec {
                Some(Spec::Gateway(gateway)) => drop(model.gateways.insert(name, gateway)),
                Some(Spec::Route(route)) => drop(model.routes.insert(name, route)),
                Some(Spec::Backend(backend)) => drop(model.backends.insert(name, backend)),
                Some(Spec::TrafficPolicy(policy)) => drop(model.policies.insert(name, policy)),
                // A document without a spec has an error, and then this is not reached.
                None => {}
            }
        }
        Ok(model)
    }
}

fn check(documents: &[Document], has_nameless: bool) -> Vec<Diagnostic> {
    let mut check = Check { index: BTreeMap::new(), has_nameless, diagnostics: Vec::new() };
    for document in documents {
        check.add(document);
    }
    gateway::ports(&mut check);
    policy::route_keys(&mut check);
    for document in documents {
        match &document.spec {
            Some(Spec::Gateway(gateway)) => gateway::check(&mut check, document, gateway),
            Some(Spec::Route(route)) => route::check(&mut check, document, route),
            Some(Spec::Backend(backend)) => backend::check(&mut check, document, backend),
            Some(Spec::TrafficPolicy(policy)) => policy::check(&mut check, document, policy),
            None => {}
        }
    }
    if check.diagnostics.is_empty() && documents.iter().all(|document| !document.has_errors) {
        policy::whole(&mut check, documents);
    }
    check.diagnostics
}

/// The documents by name, and what was found.
struct Check<'a> {
    index: BTreeMap<Kind, BTreeMap<&'a str, &'a Document>>,
    has_nameless: bool,
    diagnostics: Vec<Diagnostic>,
}

/// Where a reference leads.
enum Target<T> {
    /// To a document and, where one is named, a section of it.
    Found(T),
    /// Nowhere, or to something that has errors itself. Whatever had to be reported was.
    Unknown,
}

impl<'a> Check<'a> {
    fn add(&mut self, document: &'a Document) {
        let names = self.index.entry(document.kind).or_default();
        if let Some(first) = names.get(document.name.as_str()) {
            let path = steps!["metadata", "name"];
            let message =
                format!("there is a {} of this name already, at {}", document.kind, first.location(path));
            self.report(document, path, message, None);
        } else {
            names.insert(&document.name, document);
        }
    }

    fn all(&self, kind: Kind) -> impl Iterator<Item = &'a Document> + Clone + use<'a, '_> {
        self.index.get(&kind).into_iter().flat_map(|names| names.values().copied())
    }

    fn gateways(&self) -> impl Iterator<Item = (&'a Document, &'a Gateway)> + use<'a, '_> {
        self.all(Kind::Gateway).filter_map(|document| match &document.spec {
            Some(Spec::Gateway(gateway)) => Some((document, gateway)),
            _ => None,
        })
    }

    fn gateway(&self, name: &str) -> Option<&'a Gateway> {
        match &self.index.get(&Kind::Gateway)?.get(name)?.spec {
            Some(Spec::Gateway(gateway)) => Some(gateway),
            _ => None,
        }
    }

    fn route(&self, name: &str) -> Option<&'a Route> {
        match &self.index.get(&Kind::Route)?.get(name)?.spec {
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
        self.diagnostics.extend(document.problem(path, message, help));
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
        let Some(target) = self.index.get(&kind).and_then(|names| names.get(name)).copied() else {
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
