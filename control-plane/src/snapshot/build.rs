//! From a model to one snapshot a fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use spillway_policy::config::Configuration;

use crate::document::kind::{Backend, Gateway, Protocol};
use crate::model::Model;
use crate::resource::extension_config::{self, Module, Proxy};
use crate::resource::{cluster, endpoint, listener, proxyless, route};

use super::memo::{FromBackend, FromGateway, Memo};
use super::origin::Origin;
use super::revision::Revisions;
use super::{Filter, Resource, ResourceSet, Snapshot};

/// Builds snapshots, and remembers the last ones: what did not change keeps its bytes in memory and its identity.
#[derive(Debug)]
pub struct Builder {
    module_sha256: Arc<str>,
    revisions: Revisions,
    last: BTreeMap<String, Arc<Snapshot>>,
    memo: Memo,
}

impl Builder {
    /// A builder whose filters use the module with this SHA-256 (hexadecimal).
    pub fn new(module_sha256: &str, revisions: Revisions) -> Self {
        Self { module_sha256: module_sha256.into(), revisions, last: BTreeMap::new(), memo: Memo::default() }
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
        let mut backends = BTreeMap::new();
        let mut filters = Vec::new();
        for name in gateways {
            let Some(gateway) = model.gateways.get(*name) else { continue };
            let made = self.memo.gateway(model, name, gateway, || from_gateway(model, name, gateway));
            listeners.extend(made.listeners);
            routes.extend(made.routes);
            backends.extend(model.backends_of(name));
            filters.push(self.filter(model, name, now));
        }
        let (mut clusters, mut endpoints) = (Vec::new(), Vec::new());
        for (name, backend) in backends {
            let made = self.memo.backend(name, backend, || from_backend(name, backend));
            clusters.push(made.cluster);
            endpoints.push(made.endpoints);
        }
        Snapshot {
            gateways: gateways.iter().map(|name| (*name).into()).collect(),
            // Certificates are not available yet.
            secrets: Arc::default(),
            clusters: set(clusters),
            endpoints: set(endpoints),
            listeners: set(listeners),
            routes: set(routes),
            extension_configs: self.extension_configs(&filters),
            filters: filters.into(),
            origin: Origin::default(),
        }
    }

    fn filter(&mut self, model: &Model, gateway: &str, now: u64) -> Filter {
        let mut configuration = model.filter_configuration(gateway);
        configuration.revision = 0;
        // A different module reads the same configuration anew, so it counts as a change.
        let content = json(&configuration);
        configuration.revision = self.revisions.of(gateway, &[&content, &self.module_sha256], now);
        let configuration = json(&configuration).into();
        Filter { gateway: gateway.into(), name: extension_config::name(gateway).into(), configuration }
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
            Protocol::Http => {
                let listener = listener::listener(name, one);
                made.listeners.push(Arc::new(Resource::new(&listener::resource_name(one), &listener)));
                route::route_config(&route_config, &attachments)
            }
            Protocol::Proxyless => {
                let listener = |name: &String| Arc::new(Resource::new(name, &proxyless::listener(name, one)));
                made.listeners.extend(proxyless::names(one).iter().map(listener));
                proxyless::route_config(one, &attachments)
            }
        };
        made.routes.push(Arc::new(Resource::of(&route_config, &route::any(config))));
    }
    made
}

/// Nothing else may go into these resources.
fn from_backend(name: &str, backend: &Backend) -> FromBackend {
    FromBackend {
        cluster: Arc::new(Resource::new(name, &cluster::cluster(name, backend))),
        endpoints: Arc::new(Resource::new(name, &endpoint::load_assignment(name, backend))),
    }
}

fn set(resources: impl IntoIterator<Item = Arc<Resource>>) -> Arc<ResourceSet> {
    Arc::new(ResourceSet::new(resources))
}

#[cfg(test)]
mod tests;
