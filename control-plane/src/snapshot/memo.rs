//! Resources of the last build, by what they were made of, so that an edit encodes again only what it changes.
//!
//! Documents are compared by identity: one that was not edited is the same in the next model. Holding on to them here keeps their places
//! from being given to others.

use std::collections::HashMap;
use std::sync::Arc;

use super::Resource;
use crate::document::kind::{Backend, Gateway};
use crate::model::{AttachedRoutes, Model};

/// What was made in the last build, and what has been in this one.
#[derive(Debug, Default)]
pub(super) struct Memo {
    last: Made,
    current: Made,
}

#[derive(Debug, Default)]
struct Made {
    gateways: HashMap<String, OfGateway>,
    backends: HashMap<String, OfBackend>,
}

#[derive(Debug, Clone)]
struct OfGateway {
    gateway: Arc<Gateway>,
    routes: Option<Arc<AttachedRoutes>>,
    resources: FromGateway,
}

/// What is made of a Gateway and the routes that name it, and of nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct FromGateway {
    pub(super) listeners: Vec<Arc<Resource>>,
    pub(super) routes: Vec<Arc<Resource>>,
}

#[derive(Debug, Clone)]
struct OfBackend {
    backend: Arc<Backend>,
    resources: FromBackend,
}

/// What is made of a Backend and of nothing else.
#[derive(Debug, Clone)]
pub(super) struct FromBackend {
    pub(super) cluster: Arc<Resource>,
    pub(super) endpoints: Arc<Resource>,
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
        make: impl FnOnce() -> FromGateway,
    ) -> FromGateway {
        let routes = model.attached_to(name);
        let same = |known: &&OfGateway| {
            Arc::ptr_eq(&known.gateway, gateway)
                && known.routes.as_ref().map(Arc::as_ptr) == routes.map(Arc::as_ptr)
        };
        let known = self.last.gateways.get(name).filter(same);
        let resources = known.map_or_else(make, |known| known.resources.clone());
        let entry = OfGateway {
            gateway: Arc::clone(gateway),
            routes: routes.map(Arc::clone),
            resources: resources.clone(),
        };
        self.current.gateways.insert(name.to_owned(), entry);
        resources
    }

    /// The resources of a Backend, which `make` makes if it has changed.
    pub(super) fn backend(
        &mut self,
        name: &str,
        backend: &Arc<Backend>,
        make: impl FnOnce() -> FromBackend,
    ) -> FromBackend {
        // Several fleets may use it.
        let known = self.current.backends.get(name).or_else(|| self.last.backends.get(name));
        let known = known.filter(|known| Arc::ptr_eq(&known.backend, backend));
        let resources = known.map_or_else(make, |known| known.resources.clone());
        let entry = OfBackend { backend: Arc::clone(backend), resources: resources.clone() };
        self.current.backends.insert(name.to_owned(), entry);
        resources
    }
}
