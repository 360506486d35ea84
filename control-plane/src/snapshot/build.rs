//! From a model to one snapshot a fleet.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use spillway_policy::config::Configuration;

use crate::dns::Addresses;
use crate::document::kind::{Backend, Gateway, Protocol, Rule};
use crate::model::{Certificate, Model};
use crate::resource::extension_config::{self, Module, Proxy};
use crate::resource::{cluster, endpoint, listener, proxyless, route, secret};

use super::aside::Aside;
use super::memo::{FromBackend, FromGateway, Memo, Terms};
use super::revision::Revisions;
use super::{Filter, Name, Resource, ResourceSet, Snapshot};

/// Builds snapshots, and remembers the last ones: what did not change keeps its bytes in memory and its identity.
#[derive(Debug)]
pub struct Builder {
    module_sha256: Arc<str>,
    revisions: Revisions,
    last: BTreeMap<String, Arc<Snapshot>>,
    memo: Memo,
    addresses: Arc<Addresses>,
}

impl Builder {
    /// A builder whose filters use the module with this SHA-256 (hexadecimal).
    pub fn new(module_sha256: &str, revisions: Revisions) -> Self {
        Self {
            module_sha256: module_sha256.into(),
            revisions,
            last: BTreeMap::new(),
            memo: Memo::default(),
            addresses: Arc::default(),
        }
    }

    /// From now on these are the endpoints of Backends that name a host in the DNS.
    pub fn locate(&mut self, addresses: Arc<Addresses>) {
        self.addresses = addresses;
    }

    /// The snapshot of every fleet that has a Gateway. `now` is wall-clock time in milliseconds; see [`Revisions`].
    pub fn build(&mut self, model: &Model, now: u64) -> &BTreeMap<String, Arc<Snapshot>> {
        self.memo.begin();
        let fleets = model.fleets();
        let snapshots = fleets.into_iter().map(|(fleet, gateways)| {
            let snapshot = self.snapshot(model, &gateways, now);
            let last = self.last.get(fleet).map(AsRef::as_ref);
            (fleet.to_owned(), Arc::new(snapshot.sharing(last)))
        });
        let snapshots = snapshots.collect();
        self.last = snapshots;
        &self.last
    }

    /// `snapshot` in a form that replaces `tried`, a newer one that some proxies have: a filter keeps the configuration with the highest
    /// revision, so where the two differ the older one is given a new one.
    pub fn renewed(&mut self, snapshot: &Arc<Snapshot>, tried: &Snapshot, now: u64) -> Arc<Snapshot> {
        let mut changed = false;
        let filters: Vec<_> = snapshot
            .filters
            .iter()
            .map(|filter| {
                let other = tried.filters.iter().find(|other| other.name == filter.name);
                if other.is_none_or(|other| other.configuration == filter.configuration) {
                    return filter.clone();
                }
                let Ok(mut configuration) = serde_json::from_str::<Configuration>(&filter.configuration)
                else {
                    return filter.clone();
                };
                changed = true;
                configuration.revision = self.revisions.renewed(&filter.gateway, now);
                Filter { configuration: json(&configuration).into(), ..filter.clone() }
            })
            .collect();
        if !changed {
            return Arc::clone(snapshot);
        }
        let extension_configs = self.extension_configs(&filters);
        Arc::new(Snapshot { extension_configs, filters: filters.into(), ..Snapshot::clone(snapshot) })
    }

    /// The clusters alone that fleets have by documents which are not in force any more.
    pub fn clusters(&mut self, model: &Model) -> BTreeMap<String, Arc<ResourceSet>> {
        let fleets = model.fleets().into_iter();
        let clusters = fleets.map(|(fleet, gateways)| {
            let made = self.backends(model, &backends_of(model, &gateways));
            (fleet.to_owned(), set(made.into_iter().map(|made| made.cluster)))
        });
        clusters.collect()
    }

    fn backends(&mut self, model: &Model, backends: &BTreeMap<&str, Used<'_>>) -> Vec<FromBackend> {
        let budgets = model.retry_budgets();
        let made = backends.iter().map(|(name, Used { backend, by_clients })| {
            let found = backend.dns().and_then(|dns| self.addresses.get(dns));
            let terms = Terms { budget: budgets.get(name).copied(), reported: *by_clients };
            self.memo.backend(name, backend, found, terms, || from_backend(name, backend, found, terms))
        });
        made.collect()
    }

    fn extension_configs(&self, filters: &[Filter]) -> Arc<ResourceSet> {
        set(filters.iter().map(|Filter { name, configuration, gateway: _ }| {
            Arc::new(Resource::filter(name, configuration, &self.module_sha256))
        }))
    }

    /// The revisions in use, for keeping.
    pub fn revisions(&mut self) -> &mut Revisions {
        &mut self.revisions
    }

    fn snapshot(&mut self, model: &Model, gateways: &[&str], now: u64) -> Snapshot {
        let mut listeners = Vec::new();
        let mut routes = Vec::new();
        let mut filters = Vec::new();
        for name in gateways {
            let Some(gateway) = model.gateways.get(*name) else { continue };
            let made = self.memo.gateway(model, name, gateway, || from_gateway(model, name, gateway));
            listeners.extend(made.listeners);
            routes.extend(made.routes);
            let whole = model.filter_configuration(name);
            filters.push(self.filter(whole, name, extension_config::name(name), now));
            if let Some(key) = model.key_configuration(name) {
                let revision_of = format!("{name}/key");
                filters.push(self.filter(key, &revision_of, extension_config::key_name(name), now));
            }
        }
        let backends = backends_of(model, gateways);
        let certificates = model.certificates_of(gateways, backends.values().map(|used| &**used.backend));
        let backends = self.backends(model, &backends);
        Snapshot {
            gateways: gateways.iter().map(|name| (*name).into()).collect(),
            secrets: set(certificates.into_iter().flat_map(|(name, certificate)| {
                self.memo.secrets(name, certificate, || from_certificate(name, certificate))
            })),
            clusters: set(backends.iter().map(|made| Arc::clone(&made.cluster))),
            endpoints: set(backends.iter().map(|made| Arc::clone(&made.endpoints))),
            near: near(&backends),
            listeners: set(listeners),
            routes: set(routes),
            extension_configs: self.extension_configs(&filters),
            filters: filters.into(),
            origin: Aside::default(),
            known: Aside::default(),
        }
    }

    /// `revision_of` is a name of its own for each configuration that changes by itself.
    fn filter(
        &mut self,
        mut configuration: Configuration,
        revision_of: &str,
        name: String,
        now: u64,
    ) -> Filter {
        // A different module reads the same configuration anew, so it counts as a change.
        let content = json(&configuration);
        configuration.revision = self.revisions.of(revision_of, &[&content, &self.module_sha256], now);
        let configuration = json(&configuration).into();
        Filter { gateway: revision_of.into(), name: name.into(), configuration }
    }
}

/// The configuration as the filter reads it. JSON can say everything that its types can; if it ever could not, the filter refuses the empty
/// text and what is in force stays.
fn json(configuration: &Configuration) -> String {
    serde_json::to_string(configuration).unwrap_or_default()
}

/// The extension configs of filters whose module is on the proxy's own disk.
pub(super) fn local_filters(filters: &[Filter], path: &str) -> ResourceSet {
    ResourceSet::new(filters.iter().map(|Filter { name, configuration, gateway: _ }| {
        let module = Module::Local { path };
        let config = extension_config::extension_config(name, configuration, module, Proxy::Starting);
        Arc::new(Resource::new(name, &config))
    }))
}

/// Nothing else may go into these resources: they are made anew when the Gateway or a route that names it changes, and only then.
fn from_gateway(model: &Model, name: &str, gateway: &Gateway) -> FromGateway {
    let mut made = FromGateway::default();
    for one in &gateway.listeners {
        let attachments: Vec<_> = model.routes_of(name, one).collect();
        let route_config = listener::route_config_name(one);
        let config = match one.protocol {
            Protocol::Proxyless => {
                let listener = |name: &String| Arc::new(Resource::new(name, &proxyless::listener(name, one)));
                made.listeners.extend(proxyless::names(one).iter().map(listener));
                crate::resource::any(&proxyless::route_config(one, &attachments))
            }
            Protocol::Http | Protocol::Https | Protocol::Tcp | Protocol::Tls => {
                let listener = listener::listener(name, one, &attachments);
                made.listeners.push(Arc::new(Resource::new(&listener::resource_name(one), &listener)));
                if !one.protocol.is_http() {
                    continue;
                }
                let entries: Vec<_> =
                    attachments.iter().map(|attachment| route::entries(one, attachment)).collect();
                let entries = entries.iter().map(Vec::as_slice);
                route::route_config(&route_config, attachments.iter().zip(entries))
            }
        };
        made.routes.push(Arc::new(Resource::of(&route_config, &config)));
    }
    made
}

/// A Backend that a fleet has.
struct Used<'a> {
    backend: &'a Arc<Backend>,
    /// By gRPC clients without a proxy.
    by_clients: bool,
}

/// The Backends that some Gateways' routes name.
fn backends_of<'a>(model: &'a Model, gateways: &[&str]) -> BTreeMap<&'a str, Used<'a>> {
    let all = gateways.iter().flat_map(|name| model.backends_of(name));
    let mut used: BTreeMap<_, _> =
        all.map(|(name, backend)| (name, Used { backend, by_clients: false })).collect();
    for (name, gateway) in gateways.iter().filter_map(|name| model.gateways.get_key_value(*name)) {
        let listeners = gateway.listeners.iter().filter(|one| one.protocol == Protocol::Proxyless);
        let routes = listeners.flat_map(|one| model.routes_of(name, one));
        for backend in routes.flat_map(|attachment| &attachment.route.rules).flat_map(Rule::backends) {
            used.entry(backend).and_modify(|used| used.by_clients = true);
        }
    }
    used
}

/// Nothing else may go into these resources.
fn from_backend(name: &str, backend: &Backend, found: Option<&Arc<[IpAddr]>>, terms: Terms) -> FromBackend {
    let endpoints = match backend.dns() {
        Some(dns) => {
            found.into_iter().flat_map(|found| found.iter()).map(|address| dns.endpoint(*address)).collect()
        }
        None => Cow::Borrowed(backend.endpoints()),
    };
    let assignment = |near| Arc::new(Resource::new(name, &endpoint::load_assignment(name, &endpoints, near)));
    let zones = endpoints.iter().filter_map(|endpoint| endpoint.zone.as_deref());
    let zones = zones.filter(|_| backend.load_balancing.zone_aware).collect::<BTreeSet<_>>();
    let Terms { budget, reported } = terms;
    let cluster = cluster::within(budget, cluster::cluster(name, backend, &endpoints));
    let cluster = if reported { proxyless::reported(cluster) } else { cluster };
    FromBackend {
        cluster: Arc::new(Resource::new(name, &cluster)),
        endpoints: assignment(None),
        near: zones.into_iter().map(|zone| (zone.into(), assignment(Some(zone)))).collect(),
    }
}

/// The endpoints of all Backends for proxies of each zone that makes a difference to one of them.
fn near(backends: &[FromBackend]) -> BTreeMap<Name, Arc<ResourceSet>> {
    let zones: BTreeSet<_> = backends.iter().flat_map(|made| made.near.keys()).collect();
    let of =
        |zone| backends.iter().map(move |made| Arc::clone(made.near.get(zone).unwrap_or(&made.endpoints)));
    zones.into_iter().map(|zone| (Arc::clone(zone), set(of(zone)))).collect()
}

/// Nothing else may go into these resources.
fn from_certificate(name: &str, certificate: &Certificate) -> Vec<Arc<Resource>> {
    let secrets = secret::secrets(name, certificate);
    secrets.iter().map(|secret| Arc::new(Resource::new(&secret.name, secret))).collect()
}

fn set(resources: impl IntoIterator<Item = Arc<Resource>>) -> Arc<ResourceSet> {
    Arc::new(ResourceSet::new(resources))
}

#[cfg(test)]
mod tests;
