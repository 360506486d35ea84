//! What a set of documents means, once every reference resolves: the input of everything that is pushed to proxies.
//!
//! A `Model` that exists is valid. It keeps the documents' own types (their fields were checked when they were read) and adds the
//! look-ups that rendering needs; maps are ordered, so that the same documents give the same bytes in every process.

use std::collections::BTreeMap;
use std::sync::Arc;

use spillway_policy::config::{Configuration, Policy, Scope};

use crate::document::kind::{
    Backend, Gateway, Kind, Listener, Route, Spec, TargetKind, TargetRef, TrafficPolicy,
};

mod build;
pub mod corpus;
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
    /// The routes that name a Gateway, by the Gateway's name and their own.
    attached: BTreeMap<String, Arc<AttachedRoutes>>,
}

/// Routes by name.
pub type AttachedRoutes = BTreeMap<String, Arc<Route>>;

/// A route as one listener serves it.
#[derive(Debug, Clone)]
pub struct Attachment<'a> {
    /// The route's name.
    pub name: &'a str,
    /// The route.
    pub route: &'a Route,
    /// What the route's hostnames and the listener's have in common, without duplicates; empty means every host.
    pub hostnames: Vec<&'a str>,
}

impl Model {
    /// Adds a document, or puts it in the place of the one that was there.
    pub(crate) fn put(&mut self, name: &str, spec: &Spec) {
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
        }
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

    /// The Backends to which any listener of a Gateway may send, by name.
    pub fn backends_of(&self, gateway: &str) -> BTreeMap<&str, &Arc<Backend>> {
        let listeners = self.gateways.get(gateway).map_or(&[][..], |gateway| &gateway.listeners);
        let routes = listeners.iter().flat_map(|listener| self.routes_of(gateway, listener));
        let names = routes.flat_map(|attachment| &attachment.route.rules).flat_map(|rule| &rule.backend_refs);
        names
            .filter_map(|reference| self.backends.get_key_value(&reference.name))
            .map(|(n, b)| (n.as_str(), b))
            .collect()
    }

    /// What the filter of one Gateway enforces. The revision is left 0.
    ///
    /// A policy is part of it if it targets the Gateway, one of its listeners, or a route that one of its listeners serves.
    pub fn filter_configuration(&self, gateway: &str) -> Configuration {
        let policies = self.policies.iter().filter_map(|(name, policy)| {
            let targets = policy.target_refs.iter().filter(|target| match target.kind {
                TargetKind::Gateway => target.name == gateway,
                TargetKind::Route => self.is_served(gateway, &target.name),
            });
            let scopes: Vec<_> = targets.map(scope).collect();
            let everything = scopes.contains(&None);
            let applies_to = if everything { Vec::new() } else { scopes.iter().flatten().cloned().collect() };
            (!scopes.is_empty()).then(|| Policy {
                name: name.clone(),
                applies_to,
                route_key: policy.route_key.clone(),
                rate_limits: policy.rate_limits.clone(),
                circuit_breakers: policy.circuit_breakers.clone(),
                concurrency: policy.concurrency.clone(),
                priority: policy.priority.clone(),
                degrade: policy.degrade.clone(),
            })
        });
        Configuration { revision: 0, policies: policies.collect() }
    }
}

fn attachment<'a>(
    gateway: &str,
    listener: &'a Listener,
    name: &'a str,
    route: &'a Route,
) -> Option<Attachment<'a>> {
    let attached = route.parent_refs.iter().any(|parent| {
        parent.name == gateway && parent.section_name.as_ref().is_none_or(|section| *section == listener.name)
    });
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
