//! What a set of documents means, once every reference resolves: the input of everything that is pushed to proxies.
//!
//! A `Model` that exists is valid. It keeps the documents' own types (their fields were checked when they were read) and adds the
//! look-ups that rendering needs; maps are ordered, so that the same documents give the same bytes in every process.

use std::collections::{BTreeMap, BTreeSet};

use spillway_policy::config::{Configuration, Policy, Scope};

use crate::document::kind::{Backend, Gateway, Listener, Route, TargetKind, TargetRef, TrafficPolicy};

mod build;
pub mod hostname;

/// A valid set of documents.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// By name.
    pub gateways: BTreeMap<String, Gateway>,
    /// By name.
    pub routes: BTreeMap<String, Route>,
    /// By name.
    pub backends: BTreeMap<String, Backend>,
    /// By name; the order in which their rules are asked.
    pub policies: BTreeMap<String, TrafficPolicy>,
}

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
            .map(|(name, gateway)| (name.as_str(), gateway))
    }

    /// The routes that one listener serves, in the order of their names.
    pub fn routes_of<'a>(
        &'a self,
        gateway: &str,
        listener: &'a Listener,
    ) -> impl Iterator<Item = Attachment<'a>> {
        self.routes.iter().filter_map(move |(name, route)| {
            let attached = route.parent_refs.iter().any(|parent| {
                parent.name == gateway
                    && parent.section_name.as_ref().is_none_or(|section| *section == listener.name)
            });
            let hostnames =
                attached.then(|| hostname::common(listener.hostname.as_deref(), &route.hostnames))??;
            Some(Attachment { name, route, hostnames })
        })
    }

    /// The Backends to which any listener of a Gateway may send, by name.
    pub fn backends_of(&self, gateway: &str) -> BTreeMap<&str, &Backend> {
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
        let listeners = self.gateways.get(gateway).map_or(&[][..], |gateway| &gateway.listeners);
        let routes: BTreeSet<_> = listeners
            .iter()
            .flat_map(|listener| self.routes_of(gateway, listener))
            .map(|attachment| attachment.name)
            .collect();
        let policies = self.policies.iter().filter_map(|(name, policy)| {
            let targets = policy.target_refs.iter().filter(|target| match target.kind {
                TargetKind::Gateway => target.name == gateway,
                TargetKind::Route => routes.contains(target.name.as_str()),
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
