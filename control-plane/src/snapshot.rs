//! What one fleet should have: a consistent set of encoded resources, versioned by content.
//!
//! A resource is encoded once, when the snapshot is built. Every stream that sends it shares those bytes. A version is a hash of
//! content, so two processes with the same documents agree on it and an edit to one fleet leaves the versions of others alone.

mod aside;
pub mod build;
#[cfg(test)]
mod consistency;
pub mod difference;
pub mod known;
mod memo;
pub mod origin;
pub mod revision;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use ring::digest;
use sha2::{Digest, Sha256};

use self::aside::Aside;
use self::known::{Given, History};
use self::origin::Part;
use crate::document;
use crate::resource::Kind;
use crate::resource::extension_config::{Module, Proxy, extension_config};
use crate::store::{Accepted, Stored};
use crate::telemetry::trace::Trace;

/// A resource's name.
pub type Name = Arc<str>;

/// A hash of content, in hexadecimal.
pub type Version = Arc<str>;

/// One encoded resource.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    name: Name,
    version: Version,
    first: Encoded,
    filter: Option<FilterForms>,
}

/// What of the same content a client gets. All forms have one version; only a filter's differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It has none of that name.
    First,
    /// It may have an earlier version.
    Update,
    /// It may have refused these very bytes, and needs others.
    Again(u32),
}

/// The forms of a filter's configuration beside the first.
#[derive(Debug, PartialEq, Eq)]
struct FilterForms {
    update: Encoded,
    configuration: Arc<str>,
    module_sha256: Arc<str>,
}

/// A resource's bytes for both variants of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Encoded {
    bytes: Bytes,
    any_at: usize,
}

/// `envoy.service.discovery.v3.Resource` as far as it is used here, but for the resource. In tag order that would stand before the name; it comes last
/// instead, so that its bytes serve both variants of the protocol.
#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "3")]
    name: String,
}

/// The field of the resource, and that of the message in a `google.protobuf.Any`.
const RESOURCE: u32 = 2;
const ANY_VALUE: u32 = 2;

impl Resource {
    /// Encodes `message` under `name`.
    pub fn new<M: Message + prost::Name>(name: &str, message: &M) -> Self {
        Self::of(name, &crate::resource::any(message))
    }

    /// Encodes a message that is encoded itself already.
    pub fn of(name: &str, any: &Any) -> Self {
        // The value may be long, and stands at the end: it is copied once.
        let mut before = Any { type_url: any.type_url.clone(), value: Vec::new() }.encode_to_vec();
        if !any.value.is_empty() {
            encode_key(ANY_VALUE, WireType::LengthDelimited, &mut before);
            encode_varint(any.value.len() as u64, &mut before);
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&before);
        hash.update(&any.value);
        let version = short(hash.finish().as_ref());
        let first = Encoded::new(name, &version, &before, &any.value);
        Self { name: name.into(), version, first, filter: None }
    }

    /// Encodes the extension config of a filter whose module is served here.
    pub fn filter(name: &str, configuration: &Arc<str>, module_sha256: &Arc<str>) -> Self {
        let module = Module::Served { sha256: module_sha256 };
        let first = Self::new(name, &extension_config(name, configuration, module, Proxy::Starting));
        let update = encode_filter(name, &first.version, configuration, module_sha256, 0);
        let (configuration, module_sha256) = (Arc::clone(configuration), Arc::clone(module_sha256));
        Self { filter: Some(FilterForms { update, configuration, module_sha256 }), ..first }
    }

    /// Unique among its kind.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Changes exactly when the content does.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// As a `google.protobuf.Any`, which is what the state-of-the-world variant sends.
    pub fn any(&self, form: Form) -> Bytes {
        let Encoded { bytes, any_at } = self.encoded(form);
        bytes.slice(any_at..)
    }

    /// As an `envoy.service.discovery.v3.Resource`, which is what the delta variant sends.
    pub fn resource(&self, form: Form) -> Bytes {
        self.encoded(form).bytes
    }

    /// Whether the forms differ.
    pub fn has_forms(&self) -> bool {
        self.filter.is_some()
    }

    fn encoded(&self, form: Form) -> Encoded {
        match (form, &self.filter) {
            (Form::First, _) | (_, None) => self.first.clone(),
            (Form::Update, Some(filter)) => filter.update.clone(),
            (Form::Again(variation), Some(FilterForms { update: _, configuration, module_sha256 })) => {
                encode_filter(&self.name, &self.version, configuration, module_sha256, variation)
            }
        }
    }
}

fn encode_filter(name: &str, version: &str, configuration: &str, sha256: &str, variation: u32) -> Encoded {
    let module = Module::Served { sha256 };
    let config = extension_config(name, configuration, module, Proxy::Running { variation });
    Encoded::new(name, version, &crate::resource::any(&config).encode_to_vec(), &[])
}

#[cfg(test)]
thread_local! {
    static ENCODED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many resources this thread has encoded.
#[cfg(test)]
pub(crate) fn encoded() -> usize {
    ENCODED.get()
}

impl Encoded {
    /// The `Any` comes in two parts.
    fn new(name: &str, version: &str, any: &[u8], rest: &[u8]) -> Self {
        #[cfg(test)]
        ENCODED.set(ENCODED.get() + 1);
        let header = Header { version: version.to_owned(), name: name.to_owned() };
        // The longest length takes ten bytes.
        let mut bytes = Vec::with_capacity(header.encoded_len() + 1 + 10 + any.len() + rest.len());
        bytes.extend(header.encode_to_vec());
        encode_key(RESOURCE, WireType::LengthDelimited, &mut bytes);
        encode_varint((any.len() + rest.len()) as u64, &mut bytes);
        let any_at = bytes.len();
        bytes.extend_from_slice(any);
        bytes.extend_from_slice(rest);
        Self { bytes: bytes.into(), any_at }
    }
}

/// The resources of one kind.
#[derive(Debug, PartialEq, Eq)]
pub struct ResourceSet {
    version: Version,
    resources: BTreeMap<Name, Arc<Resource>>,
}

impl Default for ResourceSet {
    fn default() -> Self {
        Self::new([])
    }
}

impl ResourceSet {
    /// Collects resources; of two with one name the later stays.
    pub fn new(resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let resources: BTreeMap<_, _> =
            resources.into_iter().map(|resource| (Arc::clone(&resource.name), resource)).collect();
        let version = version_of(resources.values());
        Self { version, resources }
    }

    /// Changes exactly when any name or content does.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The resource of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.resources.get(name)
    }

    /// In the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// All of `newer`, and what else there is in this one.
    fn replaced_by(&self, newer: &Self) -> Self {
        Self::new(self.iter().chain(newer.iter()).cloned())
    }
}

/// The version of several resources together; they must come in the order of names.
pub(crate) fn version_of<'a>(resources: impl IntoIterator<Item = &'a Arc<Resource>>) -> Version {
    let mut hash = Sha256::new();
    for resource in resources {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        hash.update(resource.name.len().to_be_bytes());
        hash.update(resource.name.as_bytes());
        hash.update(resource.version.as_bytes());
    }
    short(&hash.finalize())
}

/// The first 96 bits: far more than accidental equality needs, and short enough to read in a log.
fn short(hash: &[u8]) -> Version {
    hexadecimal(hash.get(..12).unwrap_or(hash)).into()
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(nibble.into(), 16));
        }
        text
    })
}

/// Everything one fleet should have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    gateways: Vec<Name>,
    secrets: Arc<ResourceSet>,
    clusters: Arc<ResourceSet>,
    endpoints: Arc<ResourceSet>,
    /// The endpoints for proxies of zones that make a difference.
    near: BTreeMap<Name, Arc<ResourceSet>>,
    listeners: Arc<ResourceSet>,
    routes: Arc<ResourceSet>,
    extension_configs: Arc<ResourceSet>,
    filters: Arc<[Filter]>,
    /// The newest documents that make it.
    origin: Aside<Accepted>,
    /// What else the fleet's proxies may have.
    known: Aside<Given>,
    /// The change that made it.
    cause: Aside<Trace>,
}

/// One Gateway's filter, before it is decided where the module comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Filter {
    /// Whose revision it has: the Gateway, or a name below it.
    gateway: Name,
    name: Name,
    configuration: Arc<str>,
    /// With a module that is served here.
    resource: Arc<Resource>,
}

impl Filter {
    fn new(gateway: Name, name: Name, configuration: Arc<str>, module_sha256: &Arc<str>) -> Self {
        let resource = Arc::new(Resource::filter(&name, &configuration, module_sha256));
        Self { gateway, name, configuration, resource }
    }
}

impl Snapshot {
    /// The Gateways whose documents made it; none for a fleet that no Gateway names.
    pub fn gateways(&self) -> &[Name] {
        &self.gateways
    }

    /// Says which documents it was made of, for [`Snapshot::parts`].
    pub fn came_from(&self, accepted: &Arc<Accepted>) {
        self.origin.set(accepted);
    }

    /// Says which change made it, for [`Snapshot::cause`].
    pub fn caused_by(&self, change: &Trace) {
        self.cause.set(&Arc::new(change.clone()));
    }

    /// The change that made it, for what it leads to.
    pub fn cause(&self) -> Trace {
        Trace::clone(&self.cause.get())
    }

    /// Says what else the fleet's proxies may have, for [`Snapshot::clusters_known_as`].
    pub fn came_after(&self, history: &History) {
        self.known.set(history.given());
    }

    /// The clusters of an earlier snapshot, if the fleet had some of this version not long ago.
    pub fn clusters_known_as(&self, version: &str) -> Option<Arc<ResourceSet>> {
        self.known.get().find(version)
    }

    /// The parts of documents that a resource was made of, the most telling first.
    pub fn parts(&self, kind: Kind, resource: &str) -> Vec<Part> {
        origin::parts(&self.origin.get(), &self.gateways, kind, resource)
    }

    /// One of the documents it was made of, as JSON.
    pub fn document(&self, kind: document::kind::Kind, name: &str) -> Option<serde_json::Value> {
        let accepted = self.origin.get();
        accepted.documents.get(&(kind, name.to_owned())).map(Stored::value)
    }

    /// The resources of one kind.
    pub fn set(&self, kind: Kind) -> &Arc<ResourceSet> {
        match kind {
            Kind::Secret => &self.secrets,
            Kind::Cluster => &self.clusters,
            Kind::Endpoints => &self.endpoints,
            Kind::Listener => &self.listeners,
            Kind::Route => &self.routes,
            Kind::ExtensionConfig => &self.extension_configs,
        }
    }

    /// The same snapshot with other resources of one kind.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn with(mut self, kind: Kind, set: Arc<ResourceSet>) -> Self {
        *match kind {
            Kind::Secret => &mut self.secrets,
            Kind::Cluster => &mut self.clusters,
            Kind::Endpoints => &mut self.endpoints,
            Kind::Listener => &mut self.listeners,
            Kind::Route => &mut self.routes,
            Kind::ExtensionConfig => &mut self.extension_configs,
        } = set;
        self
    }

    /// The snapshot for a proxy that has the module on its own disk.
    #[must_use]
    pub fn with_local_module(&self, path: &str) -> Self {
        Self {
            gateways: self.gateways.clone(),
            secrets: Arc::clone(&self.secrets),
            clusters: Arc::clone(&self.clusters),
            endpoints: Arc::clone(&self.endpoints),
            near: self.near.clone(),
            listeners: Arc::clone(&self.listeners),
            routes: Arc::clone(&self.routes),
            extension_configs: Arc::new(build::local_filters(&self.filters, path)),
            filters: Arc::clone(&self.filters),
            origin: self.origin.clone(),
            known: self.known.clone(),
            cause: self.cause.clone(),
        }
    }

    /// The snapshot for a proxy that stands in a zone.
    #[must_use]
    pub fn for_zone(self: &Arc<Self>, zone: &str) -> Arc<Self> {
        let near = self
            .near
            .get(zone)
            .map(|endpoints| Arc::new(Self { endpoints: Arc::clone(endpoints), ..Self::clone(self) }));
        near.unwrap_or_else(|| Arc::clone(self))
    }

    /// The same snapshot, made of the sets and resources of `last` wherever they are equal. Streams notice by identity that there is
    /// nothing to do, and memory holds what did not change once.
    #[must_use]
    fn sharing(self, last: Option<&Self>) -> Self {
        let Some(last) = last else { return self };
        let Self {
            gateways,
            secrets,
            clusters,
            endpoints,
            near,
            listeners,
            routes,
            extension_configs,
            filters,
            origin,
            known,
            cause,
        } = self;
        let near = near.into_iter().map(|(zone, set)| {
            let known = last.near.get(&zone).map_or_else(|| Arc::clone(&set), |last| share(&set, last));
            (zone, known)
        });
        Self {
            gateways,
            secrets: share(&secrets, &last.secrets),
            clusters: share(&clusters, &last.clusters),
            endpoints: share(&endpoints, &last.endpoints),
            near: near.collect(),
            listeners: share(&listeners, &last.listeners),
            routes: share(&routes, &last.routes),
            extension_configs: share(&extension_configs, &last.extension_configs),
            filters,
            origin,
            known,
            cause,
        }
    }
}

fn share(set: &Arc<ResourceSet>, last: &Arc<ResourceSet>) -> Arc<ResourceSet> {
    if set == last {
        return Arc::clone(last);
    }
    let resources = set.resources.iter().map(|(name, resource)| {
        let known = last.get(name).filter(|known| *known == resource);
        (Arc::clone(name), Arc::clone(known.unwrap_or(resource)))
    });
    Arc::new(ResourceSet { version: Arc::clone(&set.version), resources: resources.collect() })
}
