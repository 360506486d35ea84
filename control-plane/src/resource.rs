//! From a model to Envoy's types. Every function below is pure: the same documents give the same bytes in every process.
//!
//! Not here: who gets what when ([`crate::stream`]), and versions ([`crate::snapshot`]).

pub mod access_log;
pub mod cluster;
pub mod endpoint;
pub mod extension_config;
pub mod json;
pub mod listener;
pub mod proxyless;
pub mod route;
pub mod secret;
pub mod tls;
pub mod tracing;

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    Address, ConfigSource, SocketAddress, TypedExtensionConfig, address, config_source, socket_address,
};
use envoy_types::pb::envoy::config::core::v3::{AggregatedConfigSource, ApiVersion};
use envoy_types::pb::google::protobuf::{self, Any, BoolValue, UInt32Value};
use prost::{Message, Name};

/// The types of resource that are served.
///
/// The order is the order in which updates are sent: what is referred to goes before what refers to it (the xDS protocol page,
/// "Eventual consistency considerations").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SDS. What clusters and listeners refer to, and nothing that refers to anything.
    Secret,
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// LDS.
    Listener,
    /// RDS.
    Route,
    /// ECDS.
    ExtensionConfig,
}

impl Kind {
    /// Every kind, in the order of pushes.
    pub const ALL: [Self; 6] =
        [Self::Secret, Self::Cluster, Self::Endpoints, Self::Listener, Self::Route, Self::ExtensionConfig];

    /// What requests and responses call it.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The kind that a type URL names, if it is served.
    pub fn of(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// Whether a request that names nothing means everything, and a state-of-the-world response says everything.
    pub const fn is_root(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

/// Wraps a message with its type.
pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// A named extension with its configuration.
fn extension<M: Message + Name>(name: &str, config: &M) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(config)) }
}

/// "Ask on the stream that this came from."
fn over_ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

/// The same for what a listener can't do without: it comes up when it is complete, however long that takes, never half made.
fn over_ads_without_timeout() -> ConfigSource {
    ConfigSource { initial_fetch_timeout: Some(duration(Duration::ZERO)), ..over_ads() }
}

fn socket_address(address: std::net::IpAddr, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

fn boolean(value: bool) -> BoolValue {
    BoolValue { value }
}

fn uint32(value: u32) -> UInt32Value {
    UInt32Value { value }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::Model;

    /// The model of documents, each given as kind, name and spec.
    pub(crate) fn model(documents: &[(&str, &str, &str)]) -> Model {
        let text = documents.iter().map(|(kind, name, spec)| {
            format!("apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
        });
        let text = text.collect::<Vec<_>>().join("---\n");
        Model::build([crate::document::read("test.yaml", text.as_bytes())]).unwrap()
    }
    use envoy_types::pb::envoy::config::{
        cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
        route::v3::RouteConfiguration,
    };
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;

    #[test]
    fn type_urls_are_those_of_the_messages() {
        assert_eq!(Kind::Secret.type_url(), Secret::type_url());
        assert_eq!(Kind::Cluster.type_url(), Cluster::type_url());
        assert_eq!(Kind::Endpoints.type_url(), ClusterLoadAssignment::type_url());
        assert_eq!(Kind::Listener.type_url(), Listener::type_url());
        assert_eq!(Kind::Route.type_url(), RouteConfiguration::type_url());
        assert_eq!(Kind::ExtensionConfig.type_url(), TypedExtensionConfig::type_url());
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.type_url()), Some(kind));
        }
        assert_eq!(Kind::of(""), None);
    }
}
