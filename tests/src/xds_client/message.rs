//! The discovery protocol's messages, with the fields that a client here writes or reads. Decoding skips the others, so that ten thousand
//! clients don't decode every resource.

use bytes::Bytes;
use prost::Message;

/// Type URLs in the order in which a proxy needs them.
pub mod type_url {
    /// Clusters.
    pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    /// Their endpoints.
    pub const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    /// Listeners.
    pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
    /// Route configurations.
    pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    /// Configurations of extensions.
    pub const EXTENSION_CONFIG: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
}

/// The aggregated service's method, delta.
pub const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// The aggregated service's method, state of the world.
pub const STATE: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// Unique in its fleet.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The fleet.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// What program it is.
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// One entry of a map from strings to strings.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct DeltaRequest {
    /// In a stream's first request only.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// Which kind of resource.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names wanted from now on.
    #[prost(string, repeated, tag = "3")]
    pub subscribe: Vec<String>,
    /// Names not wanted any more.
    #[prost(string, repeated, tag = "4")]
    pub unsubscribe: Vec<String>,
    /// What is held from an earlier stream.
    #[prost(message, repeated, tag = "5")]
    pub initial_resource_versions: Vec<Entry>,
    /// The response that is answered.
    #[prost(string, tag = "6")]
    pub nonce: String,
    /// Set in refusals.
    #[prost(message, optional, tag = "7")]
    pub error: Option<Status>,
}

/// `envoy.service.discovery.v3.DiscoveryRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct StateRequest {
    /// The version in force.
    #[prost(string, tag = "1")]
    pub version: String,
    /// In a stream's first request only.
    #[prost(message, optional, tag = "2")]
    pub node: Option<Node>,
    /// Everything that is wanted.
    #[prost(string, repeated, tag = "3")]
    pub names: Vec<String>,
    /// Which kind of resource.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// The response that is answered.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Set in refusals.
    #[prost(message, optional, tag = "6")]
    pub error: Option<Status>,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct DeltaResponse {
    /// For people.
    #[prost(string, tag = "1")]
    pub system_version: String,
    /// New and changed resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// Which kind of resource.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be named in the answer.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names that are gone.
    #[prost(string, repeated, tag = "6")]
    pub removed: Vec<String>,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct StateResponse {
    /// Of everything in it.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Everything there is.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    /// Which kind of resource.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be named in the answer.
    #[prost(string, tag = "5")]
    pub nonce: String,
}

/// `envoy.service.discovery.v3.Resource`.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// By its content.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Absent where only the version is confirmed.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// What it is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// Its bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `envoy.config.cluster.v3.Cluster`.
#[derive(Clone, PartialEq, Message)]
pub struct Cluster {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "2")]
    discovery_type: i32,
    #[prost(message, optional, tag = "3")]
    eds: Option<EdsCluster>,
}

#[derive(Clone, PartialEq, Message)]
struct EdsCluster {
    #[prost(string, tag = "2")]
    service_name: String,
}

/// `envoy.config.listener.v3.Listener`.
#[derive(Clone, PartialEq, Message)]
pub struct Listener {
    #[prost(message, repeated, tag = "3")]
    filter_chains: Vec<FilterChain>,
    #[prost(message, optional, tag = "25")]
    default_filter_chain: Option<FilterChain>,
}

#[derive(Clone, PartialEq, Message)]
struct FilterChain {
    #[prost(message, repeated, tag = "3")]
    filters: Vec<Filter>,
}

#[derive(Clone, PartialEq, Message)]
struct Filter {
    #[prost(message, optional, tag = "4")]
    typed_config: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ConnectionManager {
    #[prost(message, optional, tag = "3")]
    rds: Option<Rds>,
    #[prost(message, repeated, tag = "5")]
    http_filters: Vec<HttpFilter>,
}

#[derive(Clone, PartialEq, Message)]
struct Rds {
    #[prost(string, tag = "2")]
    route_config_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpFilter {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "5")]
    config_discovery: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Clone, PartialEq, Message)]
pub struct LoadAssignment {
    #[prost(message, repeated, tag = "2")]
    localities: Vec<Locality>,
}

#[derive(Clone, PartialEq, Message)]
struct Locality {
    #[prost(message, repeated, tag = "2")]
    lb_endpoints: Vec<LbEndpoint>,
}

#[derive(Clone, PartialEq, Message)]
struct LbEndpoint {
    #[prost(message, optional, tag = "1")]
    endpoint: Option<Endpoint>,
}

#[derive(Clone, PartialEq, Message)]
struct Endpoint {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, Message)]
struct SocketAddress {
    #[prost(string, tag = "2")]
    address: String,
    #[prost(uint32, tag = "3")]
    port: u32,
}

impl Cluster {
    /// The name of its endpoints, if they are discovered.
    pub fn endpoints(&self) -> Option<&str> {
        /// `Cluster.DiscoveryType.EDS`.
        const EDS: i32 = 3;
        let service = self.eds.as_ref().map(|eds| &*eds.service_name).filter(|name| !name.is_empty());
        (self.discovery_type == EDS).then(|| service.unwrap_or(&self.name))
    }
}

impl Listener {
    /// The names of the route configurations and of the extension configurations that it refers to.
    pub fn references(&self) -> (Vec<String>, Vec<String>) {
        /// How the type URL of an HTTP connection manager ends.
        const MANAGER: &str = "HttpConnectionManager";
        let (mut routes, mut extensions) = (Vec::new(), Vec::new());
        let chains = self.filter_chains.iter().chain(&self.default_filter_chain);
        for config in
            chains.flat_map(|chain| &chain.filters).filter_map(|filter| filter.typed_config.as_ref())
        {
            if !config.type_url.ends_with(MANAGER) {
                continue;
            }
            let Ok(manager) = ConnectionManager::decode(config.value.clone()) else { continue };
            routes.extend(manager.rds.map(|rds| rds.route_config_name));
            let discovered =
                manager.http_filters.into_iter().filter(|filter| filter.config_discovery.is_some());
            extensions.extend(discovered.map(|filter| filter.name));
        }
        (routes, extensions)
    }
}

impl LoadAssignment {
    /// The ports of the endpoints with this address.
    pub fn ports_of(&self, address: &str) -> impl Iterator<Item = u32> {
        let endpoints = self.localities.iter().flat_map(|locality| &locality.lb_endpoints);
        let sockets = endpoints.filter_map(|one| one.endpoint.as_ref()?.address.as_ref()?.socket.as_ref());
        sockets.filter(move |socket| socket.address == address).map(|socket| socket.port)
    }
}
