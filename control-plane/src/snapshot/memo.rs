//! Resources of the last build, by what they were made of, so that an edit encodes again only what it changes.
//!
//! Documents are compared by identity: one that was not edited is the same in the next model. Holding on to them here keeps their places
//! from being given to others.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use spillway_policy::unit::Ratio;

use super::{Filter, Name, Resource};
use crate::document::kind::{Backend, Gateway, Listener, Protocol, Route};
use crate::model::{Announced, AttachedRoutes, Attachment, Certificate, Enforced, Model};
use crate::resource::route::{self, Entry};

/// What was made in the last build, and what has been in this one.
#[derive(Debug, Default)]
pub(super) struct Memo {
    last: Made,
    current: Made,
}

#[derive(Debug, Default)]
struct Made {
    gateways: HashMap<String, OfGateway>,
    policies: HashMap<String, OfPolicies>,
    backends: HashMap<(String, Terms), OfBackend>,
    certificates: HashMap<String, OfCertificate>,
}

#[derive(Debug)]
struct OfGateway {
    gateway: Arc<Gateway>,
    routes: Option<Arc<AttachedRoutes>>,
    announced: Announced,
    resources: FromGateway,
    entries: Entries,
}

/// What is made of a Gateway, the routes that name it and what its filter announces, and of nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct FromGateway {
    pub(super) listeners: Vec<Arc<Resource>>,
    pub(super) routes: Vec<Arc<Resource>>,
    /// The cluster of the collector that gets its spans.
    pub(super) collector: Option<Arc<Resource>>,
    /// The Backends that the routes name, and whether clients without a proxy do.
    pub(super) backends: Arc<BTreeMap<Name, bool>>,
    /// Whether some route is chosen by the route key.
    pub(super) by_key: bool,
}

/// What the listeners of a Gateway have of each route. It is made of the two and of nothing else.
#[derive(Debug, Default)]
pub(super) struct Entries {
    last: HashMap<Place, OfRoute>,
    current: HashMap<Place, OfRoute>,
}

/// A listener's number, and the address of a route: nothing else has it as long as the route is held here.
type Place = (usize, usize);

/// What a listener has of a route.
#[derive(Debug, Clone)]
pub(super) struct OfRoute {
    _route: Arc<Route>,
    pub(super) entries: Arc<[Entry]>,
    /// The Backends that it names.
    pub(super) backends: Arc<[Name]>,
    pub(super) by_key: bool,
}

impl Entries {
    fn begin(self) -> Self {
        Self { last: self.current, current: HashMap::new() }
    }

    /// What a listener, which is the Gateway's with this number, has of a route.
    pub(super) fn of(&mut self, number: usize, listener: &Listener, attachment: &Attachment<'_>) -> OfRoute {
        let place = (number, Arc::as_ptr(attachment.route).addr());
        let known = self.last.remove(&place).unwrap_or_else(|| OfRoute {
            _route: Arc::clone(attachment.route),
            // Others have no use for them.
            entries: match listener.protocol {
                Protocol::Http | Protocol::Https => route::entries(listener, attachment).into(),
                Protocol::Proxyless | Protocol::Tcp | Protocol::Tls => Arc::default(),
            },
            backends: attachment.backends().map(Name::from).collect(),
            by_key: attachment.matches_on_key(),
        });
        self.current.insert(place, known.clone());
        known
    }
}

/// The filters of a Gateway. They are made of the policies that they enforce, and of what else the Gateway wants of them.
#[derive(Debug)]
struct OfPolicies {
    enforced: Vec<Enforced>,
    wanted: Wanted,
    filters: Vec<Filter>,
}

/// What a Gateway wants of its filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Routes are chosen by the key.
    pub(super) by_key: bool,
    /// Spans are recorded.
    pub(super) traced: bool,
}

#[derive(Debug, Clone)]
struct OfCertificate {
    certificate: Arc<Certificate>,
    secrets: Vec<Arc<Resource>>,
}

#[derive(Debug, Clone)]
struct OfBackend {
    backend: Arc<Backend>,
    addresses: Option<Arc<[IpAddr]>>,
    resources: FromBackend,
}

/// What else a Backend's resources depend on. Not the same for all fleets that use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    /// The bound on second attempts.
    pub(super) budget: Option<Ratio>,
    /// Its clients have to be told in the cluster that they are to report what they do.
    pub(super) reported: bool,
}

/// What is made of a Backend, and of what its name in the DNS stands for.
#[derive(Debug, Clone)]
pub(super) struct FromBackend {
    pub(super) cluster: Arc<Resource>,
    pub(super) endpoints: Arc<Resource>,
    /// The endpoints for proxies of zones that make a difference.
    pub(super) near: BTreeMap<Name, Arc<Resource>>,
}

impl Memo {
    /// Begins a build: what the one before last made is forgotten.
    pub(super) fn begin(&mut self) {
        self.last = std::mem::take(&mut self.current);
    }

    /// The resources of a Gateway, which `make` makes if anything has changed.
    pub(super) fn gateway(
        &mut self,
        model: &Model,
        name: &str,
        gateway: &Arc<Gateway>,
        announced: Announced,
        make: impl FnOnce(&mut Entries) -> FromGateway,
    ) -> FromGateway {
        let routes = model.attached_to(name);
        // A Gateway is in one fleet.
        let last = self.last.gateways.remove(name).filter(|last| Arc::ptr_eq(&last.gateway, gateway));
        let entry = match last {
            Some(last)
                if last.routes.as_ref().map(Arc::as_ptr) == routes.map(Arc::as_ptr)
                    && last.announced == announced =>
            {
                last
            }
            last => {
                let mut entries = last.map(|last| last.entries.begin()).unwrap_or_default();
                let resources = make(&mut entries);
                entries.last = HashMap::new();
                let (gateway, routes) = (Arc::clone(gateway), routes.map(Arc::clone));
                OfGateway { gateway, routes, announced, resources, entries }
            }
        };
        let resources = entry.resources.clone();
        self.current.gateways.insert(name.to_owned(), entry);
        resources
    }

    /// The filters of a Gateway, which `make` makes if the policies are others, or what is wanted of them is.
    pub(super) fn filters(
        &mut self,
        gateway: &str,
        enforced: Vec<Enforced>,
        wanted: Wanted,
        make: impl FnOnce(&[Enforced]) -> Vec<Filter>,
    ) -> Vec<Filter> {
        let last = self.last.policies.remove(gateway);
        let known = last.filter(|last| last.wanted == wanted && last.enforced == enforced);
        let entry = known.unwrap_or_else(|| OfPolicies { filters: make(&enforced), enforced, wanted });
        let filters = entry.filters.clone();
        self.current.policies.insert(gateway.to_owned(), entry);
        filters
    }

    /// The resources of a Backend, which `make` makes if it has changed, or the addresses have, or the terms have.
    pub(super) fn backend(
        &mut self,
        name: &str,
        backend: &Arc<Backend>,
        addresses: Option<&Arc<[IpAddr]>>,
        terms: Terms,
        make: impl FnOnce() -> FromBackend,
    ) -> FromBackend {
        let key = (name.to_owned(), terms);
        // Several fleets may use it.
        let known = self.current.backends.get(&key).or_else(|| self.last.backends.get(&key));
        let same = |known: &&OfBackend| {
            Arc::ptr_eq(&known.backend, backend) && known.addresses.as_ref() == addresses
        };
        let known = known.filter(same);
        let resources = known.map_or_else(make, |known| known.resources.clone());
        let entry = OfBackend {
            backend: Arc::clone(backend),
            addresses: addresses.map(Arc::clone),
            resources: resources.clone(),
        };
        self.current.backends.insert(key, entry);
        resources
    }

    /// The secrets of a Certificate, which `make` makes if it or its files have changed.
    pub(super) fn secrets(
        &mut self,
        name: &str,
        certificate: &Arc<Certificate>,
        make: impl FnOnce() -> Vec<Arc<Resource>>,
    ) -> Vec<Arc<Resource>> {
        // Several fleets may use it.
        let known = self.current.certificates.get(name).or_else(|| self.last.certificates.get(name));
        let known = known.filter(|known| Arc::ptr_eq(&known.certificate, certificate));
        let secrets = known.map_or_else(make, |known| known.secrets.clone());
        let entry = OfCertificate { certificate: Arc::clone(certificate), secrets: secrets.clone() };
        self.current.certificates.insert(name.to_owned(), entry);
        secrets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spillway_policy::config::Configuration;

    use crate::model::corpus::Corpus;
    use crate::model::corpus::tests::{base, edit, edit_of_many, many};
    use crate::resource::Kind;
    use crate::snapshot::Snapshot;
    use crate::snapshot::build::Builder;
    use crate::snapshot::revision::Revisions;

    /// Revisions of filters count what was built before; all else may not depend on it.
    fn filters(snapshot: &Snapshot) -> Vec<Configuration> {
        let read = |text: &str| serde_json::from_str::<Configuration>(text).unwrap();
        let filters = snapshot.filters.iter().map(|filter| read(&filter.configuration));
        filters.map(|filter| Configuration { revision: 0, ..filter }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn what_is_remembered_makes_what_is_made_from_the_start(
            edits in proptest::collection::vec(prop_oneof![edit(), edit_of_many()], 1..12),
        ) {
            let mut corpus = Corpus::default();
            let mut builder = Builder::new("module", Revisions::default());
            for (edit, now) in [base(), many()].into_iter().chain(edits).zip(1..) {
                let Ok(model) = corpus.change(edit) else { continue };
                let mut fresh = Builder::new("module", Revisions::default());
                let (made, fresh) = (builder.build(&model, now), fresh.build(&model, now));
                prop_assert_eq!(made.keys().collect::<Vec<_>>(), fresh.keys().collect::<Vec<_>>());
                for (made, fresh) in made.values().zip(fresh.values()) {
                    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::ExtensionConfig) {
                        prop_assert_eq!(made.set(kind), fresh.set(kind));
                    }
                    prop_assert_eq!(filters(made), filters(fresh));
                }
            }
        }
    }
}
