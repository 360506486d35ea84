//! What a set of documents means, once every reference resolves: the input of everything that is pushed to proxies.
//!
//! A `Model` that exists is valid. It keeps the documents' own types (their fields were checked when they were read) and adds the
//! look-ups that rendering needs; maps are ordered, so that the same documents give the same bytes in every process.

use std::collections::BTreeMap;
use std::sync::Arc;

use spillway_policy::config::{Configuration, Policy, Scope};
use spillway_policy::unit::Ratio;

use crate::document::Document;
use crate::document::kind::{
    Backend, Gateway, HashKey, Kind, Listener, Route, Rule, Spec, TargetKind, TargetRef, TrafficPolicy,
};
use crate::keychain::{Files, Keychain, Material};

mod build;
pub mod corpus;
mod dependencies;
pub mod hostname;

/// A valid set of documents.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// By name.
    pub gateways: BTreeMap<String, Arc<Gateway>>,
    /// By name.
    pub routes: BTreeMap<String, Arc<Route>>,
    /// By name.
    pub backends: BTreeMap<String, Arc<Backend>>,
    /// By name; the order in which their rules are asked.
    pub policies: BTreeMap<String, Arc<TrafficPolicy>>,
    /// By name.
    pub certificates: BTreeMap<String, Arc<Certificate>>,
    /// The routes that name a Gateway, by the Gateway's name and their own.
    attached: BTreeMap<String, Arc<AttachedRoutes>>,
}

/// The files of a Certificate, and what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Where they are.
    pub files: Files,
    /// What is in them; `None` if it does not matter what the documents are read for.
    pub material: Option<Arc<Material>>,
}

/// A policy as the filter of one Gateway enforces it.
#[derive(Debug, Clone)]
pub(crate) struct Enforced {
    name: String,
    policy: Arc<TrafficPolicy>,
    /// Nothing means everything.
    applies_to: Vec<Scope>,
}

impl PartialEq for Enforced {
    /// Documents are compared by identity: one that was not edited is the same in the next model.
    fn eq(&self, Self { name, policy, applies_to }: &Self) -> bool {
        Arc::ptr_eq(&self.policy, policy) && self.name == *name && self.applies_to == *applies_to
    }
}

/// What the filter leaves in filter state for headers that Envoy then sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Announced {
    /// The key, for the upstream.
    pub(crate) route_key: bool,
    /// What is left of limits, for the client.
    pub(crate) limits: bool,
}

impl Announced {
    /// By the filter of a Gateway with these policies.
    pub(crate) fn by(enforced: &[Enforced]) -> Self {
        Self {
            route_key: enforced.iter().any(|one| !one.policy.route_key.is_empty()),
            limits: enforced
                .iter()
                .flat_map(|one| &one.policy.rate_limits)
                .any(|rule| rule.rate_limit_headers),
        }
    }
}

/// Routes by name.
pub type AttachedRoutes = BTreeMap<String, Arc<Route>>;

/// A route as one listener serves it.
#[derive(Debug, Clone)]
pub struct Attachment<'a> {
    /// The route's name.
    pub name: &'a str,
    /// The route.
    pub route: &'a Arc<Route>,
    /// What the route's hostnames and the listener's have in common, without duplicates; empty means every host.
    pub hostnames: Vec<&'a str>,
}

impl<'a> Attachment<'a> {
    /// The Backends that its rules name.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.route.rules.iter().flat_map(Rule::backends)
    }

    /// Whether the route's choice depends on the route key.
    pub fn matches_on_key(&self) -> bool {
        self.route.rules.iter().any(|rule| {
            let chooses = rule.hash_on.contains(&HashKey::RouteKey)
                && rule.backend_refs.iter().filter(|reference| reference.weight > 0).count() > 1;
            chooses || rule.matches.iter().any(|each| each.route_key.is_some())
        })
    }
}

impl Model {
    /// Adds a document, or puts it in the place of the one that was there.
    pub(crate) fn put(&mut self, document: &Document) {
        let (name, Some(spec)) = (document.name.as_str(), &document.spec) else { return };
        match spec {
            Spec::Gateway(gateway) => drop(self.gateways.insert(name.to_owned(), Arc::clone(gateway))),
            Spec::Route(route) => {
                self.remove(Kind::Route, name);
                for parent in &route.parent_refs {
                    let attached = self.attached.entry(parent.name.clone()).or_default();
                    Arc::make_mut(attached).insert(name.to_owned(), Arc::clone(route));
                }
                self.routes.insert(name.to_owned(), Arc::clone(route));
            }
            Spec::Backend(backend) => drop(self.backends.insert(name.to_owned(), Arc::clone(backend))),
            Spec::TrafficPolicy(policy) => drop(self.policies.insert(name.to_owned(), Arc::clone(policy))),
            Spec::Certificate(certificate) => {
                let files = Files::of(certificate, document.directory());
                let certificate = Arc::new(Certificate { files, material: None });
                self.certificates.insert(name.to_owned(), certificate);
            }
        }
    }

    /// Takes a document out.
    pub(crate) fn remove(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Gateway => drop(self.gateways.remove(name)),
            Kind::Route => {
                let route = self.routes.remove(name);
                for parent in route.iter().flat_map(|route| &route.parent_refs) {
                    if let Some(attached) = self.attached.get_mut(&parent.name) {
                        Arc::make_mut(attached).remove(name);
                        if attached.is_empty() {
                            self.attached.remove(&parent.name);
                        }
                    }
                }
            }
            Kind::Backend => drop(self.backends.remove(name)),
            Kind::TrafficPolicy => drop(self.policies.remove(name)),
            Kind::Certificate => drop(self.certificates.remove(name)),
        }
    }

    /// Takes over what a keychain holds. Whether that changed anything.
    pub(crate) fn fill(&mut self, keychain: &Keychain) -> bool {
        let mut changed = false;
        for certificate in self.certificates.values_mut() {
            let material = keychain.get(&certificate.files);
            if material != certificate.material {
                *certificate = Arc::new(Certificate { files: certificate.files.clone(), material });
                changed = true;
            }
        }
        changed
    }

    /// The same without what is in files: what the documents say.
    #[must_use]
    pub(crate) fn without_material(&self) -> Self {
        let mut model = self.clone();
        model.fill(&Keychain::default());
        model
    }

    /// The fleets and the names of their Gateways.
    pub fn fleets(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut fleets = BTreeMap::<_, Vec<_>>::new();
        for (name, gateway) in &self.gateways {
            fleets.entry(gateway.fleet.as_str()).or_default().push(name.as_str());
        }
        fleets
    }

    /// The Gateways of one fleet, by name.
    pub fn gateways_of<'a>(&'a self, fleet: &str) -> impl Iterator<Item = (&'a str, &'a Gateway)> {
        self.gateways
            .iter()
            .filter(move |(_, gateway)| gateway.fleet == fleet)
            .map(|(name, gateway)| (name.as_str(), gateway.as_ref()))
    }

    /// The routes that one listener serves, in the order of their names.
    pub fn routes_of<'a>(
        &'a self,
        gateway: &str,
        listener: &'a Listener,
    ) -> impl Iterator<Item = Attachment<'a>> {
        let routes = self.attached.get(gateway).into_iter().flat_map(|routes| routes.iter());
        routes.filter_map(move |(name, route)| attachment(gateway, listener, name, route))
    }

    /// The routes that name a Gateway. As long as none of them changes, it is the same `Arc`.
    pub(crate) fn attached_to(&self, gateway: &str) -> Option<&Arc<AttachedRoutes>> {
        self.attached.get(gateway)
    }

    /// Whether some listener of a Gateway serves a route.
    fn is_served(&self, gateway: &str, route: &str) -> bool {
        let attached = self.attached.get(gateway).and_then(|routes| routes.get(route));
        let listeners = self.gateways.get(gateway).map_or(&[][..], |gateway| &gateway.listeners);
        attached.is_some_and(|attached| {
            listeners.iter().any(|listener| attachment(gateway, listener, route, attached).is_some())
        })
    }

    /// The listeners of a Gateway, each with the routes that it serves.
    pub fn served<'a>(&'a self, gateway: &str) -> Vec<(&'a Listener, Vec<Attachment<'a>>)> {
        let listeners = self.gateways.get(gateway).map_or(&[][..], |gateway| &gateway.listeners);
        listeners.iter().map(|listener| (listener, self.routes_of(gateway, listener).collect())).collect()
    }

    /// The Certificates that some Gateways' listeners and some Backends name, by name.
    pub(crate) fn certificates_of<'a>(
        &'a self,
        gateways: &[&str],
        backends: impl Iterator<Item = &'a Backend>,
    ) -> BTreeMap<&'a str, &'a Arc<Certificate>> {
        let gateways = gateways.iter().filter_map(|name| self.gateways.get(*name));
        let listeners = gateways.flat_map(|gateway| &gateway.listeners).filter_map(|one| one.tls.as_ref());
        let listeners = listeners.flat_map(|tls| tls.certificate_refs.iter().chain(&tls.client_ca));
        let backends = backends.filter_map(|backend| backend.tls.as_ref());
        let backends = backends.flat_map(|tls| tls.certificate_ref.iter().chain([&tls.ca_ref]));
        listeners
            .chain(backends)
            .filter_map(|name| self.certificates.get_key_value(name))
            .map(|(name, certificate)| (name.as_str(), certificate))
            .collect()
    }

    /// The policies that the filter of one Gateway enforces, in order: those that target the Gateway, one of its listeners, or a route that one of its listeners serves.
    pub(crate) fn enforced(&self, gateway: &str) -> Vec<Enforced> {
        let policies = self.policies.iter().filter_map(|(name, policy)| {
            let targets = policy.target_refs.iter().filter(|target| match target.kind {
                TargetKind::Gateway => target.name == gateway,
                TargetKind::Route => self.is_served(gateway, &target.name),
            });
            let scopes: Vec<_> = targets.map(scope).collect();
            let everything = scopes.contains(&None);
            let applies_to = if everything { Vec::new() } else { scopes.iter().flatten().cloned().collect() };
            let policy = || Enforced { name: name.clone(), policy: Arc::clone(policy), applies_to };
            (!scopes.is_empty()).then(policy)
        });
        policies.collect()
    }

    /// What the filter of one Gateway enforces. The revision is left 0.
    pub fn filter_configuration(&self, gateway: &str) -> Configuration {
        let traced = self.gateways.get(gateway).is_some_and(|gateway| gateway.tracing.is_some());
        filter_configuration(&self.enforced(gateway), traced)
    }

    /// What the filter of one Gateway needs to know to say what a request's key is before a route has been chosen; `None` if no route asks for that.
    pub fn key_configuration(&self, gateway: &str) -> Option<Configuration> {
        let served = self.served(gateway);
        let by_key = served.iter().any(|(_, routes)| routes.iter().any(Attachment::matches_on_key));
        by_key.then(|| key_configuration(&self.enforced(gateway)))
    }

    /// The share of each Backend's requests that may be second attempts: of what rules that lead to it say, the least.
    pub fn retry_budgets(&self) -> BTreeMap<&str, Ratio> {
        let mut budgets = BTreeMap::new();
        for rule in self.routes.values().flat_map(|route| &route.rules) {
            let Some(budget) = rule.retry.as_ref().and_then(|retry| retry.budget) else { continue };
            for reference in &rule.backend_refs {
                let least = budgets.entry(reference.name.as_str()).or_insert(budget);
                *least = budget.min(*least);
            }
        }
        budgets
    }
}

/// What the filter of a Gateway with these policies enforces; `traced` if the Gateway records spans. The revision is left 0.
pub(crate) fn filter_configuration(enforced: &[Enforced], traced: bool) -> Configuration {
    let policies = enforced
        .iter()
        .map(|Enforced { name, policy, applies_to }| enforced_policy(name, policy, applies_to.clone()));
    Configuration { traced, policies: policies.collect(), ..Configuration::default() }
}

/// A TrafficPolicy in the filter's terms.
fn enforced_policy(name: &str, policy: &TrafficPolicy, applies_to: Vec<Scope>) -> Policy {
    Policy {
        name: name.to_owned(),
        applies_to,
        route_key: policy.route_key.clone(),
        rate_limits: policy.rate_limits.clone(),
        circuit_breakers: policy.circuit_breakers.clone(),
        concurrency: policy.concurrency.clone(),
        priority: policy.priority.clone(),
        degrade: policy.degrade.clone(),
    }
}

/// What of that is known before a route has been chosen: what a request's key is.
pub(crate) fn key_configuration(enforced: &[Enforced]) -> Configuration {
    let policies = enforced.iter().filter_map(|Enforced { name, policy, applies_to }| {
        let known = |scope: &&Scope| matches!(scope, Scope::FilterChain(_));
        let everywhere = applies_to.is_empty();
        let applies_to: Vec<_> = applies_to.iter().filter(known).cloned().collect();
        (!policy.route_key.is_empty() && (everywhere || !applies_to.is_empty())).then(|| Policy {
            name: name.clone(),
            applies_to,
            route_key: policy.route_key.clone(),
            ..Policy::default()
        })
    });
    Configuration { announces_key: true, policies: policies.collect(), ..Configuration::default() }
}

fn attachment<'a>(
    gateway: &str,
    listener: &'a Listener,
    name: &'a str,
    route: &'a Arc<Route>,
) -> Option<Attachment<'a>> {
    let attached = route.parent_refs.iter().any(|parent| parent.name == gateway && parent.reaches(listener));
    let hostnames = attached.then(|| hostname::common(listener.hostname.as_deref(), &route.hostnames))??;
    Some(Attachment { name, route, hostnames })
}

/// A target in the filter's terms; `None` is everything that passes it.
fn scope(target: &TargetRef) -> Option<Scope> {
    match (target.kind, &target.section_name) {
        (TargetKind::Gateway, None) => None,
        (TargetKind::Gateway, Some(listener)) => Some(Scope::FilterChain(listener.clone())),
        (TargetKind::Route, None) => Some(Scope::RoutePrefix(format!("{}/", target.name))),
        (TargetKind::Route, Some(rule)) => Some(Scope::Route(format!("{}/{rule}", target.name))),
    }
}

#[cfg(test)]
mod tests;
