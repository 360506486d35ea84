//! From a model to one snapshot a fleet.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use spillway_policy::config::Configuration;

use crate::dns::Addresses;
use crate::document::kind::{Backend, Gateway, Listener, Protocol};
use crate::model::{self, Announced, Attachment, Certificate, Model};
use crate::resource::extension_config::{self, Module, Proxy};
use crate::resource::{self, cluster, endpoint, listener, proxyless, route, secret, tracing};

use super::aside::Aside;
use super::memo::{Entries, FromBackend, FromGateway, Memo, Terms, Wanted};
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
                let (gateway, name) = (Arc::clone(&filter.gateway), Arc::clone(&filter.name));
                Filter::new(gateway, name, json(&configuration).into(), &self.module_sha256)
            })
            .collect();
        if !changed {
            return Arc::clone(snapshot);
        }
        let extension_configs = extension_configs(&filters);
        Arc::new(Snapshot { extension_configs, filters: filters.into(), ..Snapshot::clone(snapshot) })
    }

    /// The clusters alone that fleets have by documents which are not in force any more.
    pub fn clusters(&mut self, model: &Model) -> BTreeMap<String, Arc<ResourceSet>> {
        let fleets = model.fleets().into_iter();
        let clusters = fleets.map(|(fleet, gateways)| {
            let named: Vec<_> =
                gateways.iter().map(|gateway| Arc::new(backends_of(model, gateway))).collect();
            let made = self.backends(model, &used(model, &named));
            let collectors = gateways.iter().filter_map(|name| collector(model.gateways.get(*name)?));
            (fleet.to_owned(), set(made.into_iter().map(|made| made.cluster).chain(collectors)))
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

    /// The revisions in use, for keeping.
    pub fn revisions(&mut self) -> &mut Revisions {
        &mut self.revisions
    }

    fn snapshot(&mut self, model: &Model, gateways: &[&str], now: u64) -> Snapshot {
        let mut listeners = Vec::new();
        let mut routes = Vec::new();
        let mut filters = Vec::new();
        let mut named = Vec::new();
        let mut collectors = Vec::new();
        for name in gateways {
            let Some(gateway) = model.gateways.get(*name) else { continue };
            let Self { memo, revisions, module_sha256, .. } = self;
            let enforced = model.enforced(name);
            let announced = Announced::by(&enforced);
            let made = memo.gateway(model, name, gateway, announced, |entries| {
                from_gateway(model, name, announced, entries)
            });
            listeners.extend(made.listeners);
            routes.extend(made.routes);
            named.push(made.backends);
            collectors.extend(made.collector);
            let wanted = Wanted { by_key: made.by_key, traced: gateway.tracing.is_some() };
            filters.extend(memo.filters(name, enforced, wanted, |enforced| {
                let mut filter = |configuration, revision_of: String, name| {
                    filter(configuration, &revision_of, name, revisions, module_sha256, now)
                };
                let whole = model::filter_configuration(enforced, wanted.traced);
                let key = wanted.by_key.then(|| model::key_configuration(enforced));
                let whole = filter(whole, (*name).to_owned(), extension_config::name(name));
                let key = key.map(|key| filter(key, format!("{name}/key"), extension_config::key_name(name)));
                [whole].into_iter().chain(key).collect()
            }));
        }
        let backends = used(model, &named);
        let certificates = model.certificates_of(gateways, backends.values().map(|used| &**used.backend));
        let backends = self.backends(model, &backends);
        Snapshot {
            gateways: gateways.iter().map(|name| (*name).into()).collect(),
            secrets: set(certificates.into_iter().flat_map(|(name, certificate)| {
                self.memo.secrets(name, certificate, || from_certificate(name, certificate))
            })),
            clusters: set(backends.iter().map(|made| Arc::clone(&made.cluster)).chain(collectors)),
            endpoints: set(backends.iter().map(|made| Arc::clone(&made.endpoints))),
            near: near(&backends),
            listeners: set(listeners),
            routes: set(routes),
            extension_configs: extension_configs(&filters),
            filters: filters.into(),
            origin: Aside::default(),
            known: Aside::default(),
            cause: Aside::default(),
        }
    }
}

/// `revision_of` is a name of its own for each configuration that changes by itself.
fn filter(
    mut configuration: Configuration,
    revision_of: &str,
    name: String,
    revisions: &mut Revisions,
    module_sha256: &Arc<str>,
    now: u64,
) -> Filter {
    // A different module reads the same configuration anew, so it counts as a change.
    let content = json(&configuration);
    configuration.revision = revisions.of(revision_of, &[&content, module_sha256], now);
    Filter::new(revision_of.into(), name.into(), json(&configuration).into(), module_sha256)
}

fn extension_configs(filters: &[Filter]) -> Arc<ResourceSet> {
    set(filters.iter().map(|filter| Arc::clone(&filter.resource)))
}

/// The configuration as the filter reads it. JSON can say everything that its types can; if it ever could not, the filter refuses the empty
/// text and what is in force stays.
fn json(configuration: &Configuration) -> String {
    serde_json::to_string(configuration).unwrap_or_default()
}

/// The extension configs of filters whose module is on the proxy's own disk.
pub(super) fn local_filters(filters: &[Filter], path: &str) -> ResourceSet {
    ResourceSet::new(filters.iter().map(|Filter { name, configuration, gateway: _, resource: _ }| {
        let module = Module::Local { path };
        let config = extension_config::extension_config(name, configuration, module, Proxy::Starting);
        Arc::new(Resource::new(name, &config))
    }))
}

/// Nothing else may go into these resources: they are made anew when the Gateway, a route that names it or what its filter announces changes, and only then.
fn from_gateway(model: &Model, name: &str, announced: Announced, known: &mut Entries) -> FromGateway {
    let mut made = FromGateway::default();
    let mut backends = HashMap::new();
    let gateway = model.gateways.get(name);
    let spans = gateway.and_then(|gateway| tracing::settings(gateway));
    made.collector = gateway.and_then(|gateway| collector(gateway));
    for (number, (one, attachments)) in model.served(name).iter().enumerate() {
        let routes: Vec<_> = attachments.iter().map(|attachment| known.of(number, one, attachment)).collect();
        for backend in routes.iter().flat_map(|route| &*route.backends) {
            *backends.entry(Arc::clone(backend)).or_default() |= by_clients(one);
        }
        made.by_key |= routes.iter().any(|route| route.by_key);
        let route_config = listener::route_config_name(one);
        let config = match one.protocol {
            Protocol::Proxyless => {
                let listener = |name: &String| Arc::new(Resource::new(name, &proxyless::listener(name, one)));
                made.listeners.extend(proxyless::names(one).iter().map(listener));
                resource::any(&proxyless::route_config(one, attachments))
            }
            Protocol::Http | Protocol::Https | Protocol::Tcp | Protocol::Tls => {
                let listener = listener::listener(name, one, attachments, spans.clone());
                made.listeners.push(Arc::new(Resource::new(&listener::resource_name(one), &listener)));
                if !one.protocol.is_http() {
                    continue;
                }
                let entries = routes.iter().map(|route| &*route.entries);
                route::route_config(&route_config, announced, attachments.iter().zip(entries))
            }
        };
        made.routes.push(Arc::new(Resource::of(&route_config, &config)));
    }
    made.backends = Arc::new(backends.into_iter().collect());
    made
}

/// The cluster of the collector that gets a Gateway's spans.
fn collector(gateway: &Gateway) -> Option<Arc<Resource>> {
    let collector = &gateway.tracing.as_ref()?.otlp;
    Some(Arc::new(Resource::new(&tracing::cluster_name(collector), &tracing::cluster(collector))))
}

/// The Backends that the routes of a Gateway name, and whether gRPC clients without a proxy use them.
fn backends_of(model: &Model, gateway: &str) -> BTreeMap<Name, bool> {
    let mut named = BTreeMap::new();
    for (listener, attachments) in model.served(gateway) {
        for backend in attachments.iter().flat_map(Attachment::backends) {
            *named.entry(backend.into()).or_default() |= by_clients(listener);
        }
    }
    named
}

/// Whether gRPC clients without a proxy are served.
fn by_clients(listener: &Listener) -> bool {
    listener.protocol == Protocol::Proxyless
}

/// A Backend that a fleet has.
struct Used<'a> {
    backend: &'a Arc<Backend>,
    /// By gRPC clients without a proxy.
    by_clients: bool,
}

/// The Backends that some Gateways' routes name.
fn used<'a>(model: &'a Model, named: &[impl AsRef<BTreeMap<Name, bool>>]) -> BTreeMap<&'a str, Used<'a>> {
    let mut used = BTreeMap::new();
    for (name, by_clients) in named.iter().flat_map(AsRef::as_ref) {
        let Some((name, backend)) = model.backends.get_key_value(&**name) else { continue };
        used.entry(name.as_str()).or_insert(Used { backend, by_clients: false }).by_clients |= by_clients;
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
