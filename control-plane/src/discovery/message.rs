//! The protocol's messages on the wire.
//!
//! Requests are envoy-types' own. Responses are declared again here with their resources as bytes, which on the wire is the same thing: a
//! resource is encoded when its snapshot is built, and not once more for every stream that sends it.

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node as EnvoyNode;
use envoy_types::pb::google::protobuf::value::Kind as Value;
use prost::Message;

pub(super) use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest as DeltaRequest, DiscoveryRequest as StateRequest,
};

use crate::bootstrap::{FILTER_PATH_FIELD, METADATA_NAMESPACE};
use crate::stream::{Node, Request, Response};
use crate::subscription::Interest;

/// `envoy.service.discovery.v3.DiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StateResponse {
    #[prost(string, tag = "1")]
    pub(super) version_info: String,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) resources: Vec<Bytes>,
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeltaResponse {
    #[prost(string, tag = "1")]
    pub(super) system_version_info: String,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) resources: Vec<Bytes>,
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub(super) removed_resources: Vec<String>,
}

impl From<StateRequest> for Request {
    fn from(request: StateRequest) -> Self {
        let StateRequest {
            version_info,
            node,
            resource_names,
            resource_locators,
            type_url,
            response_nonce,
            error_detail,
        } = request;
        Self {
            node: node.map(Node::from),
            type_url,
            nonce: response_nonce,
            error: error_detail.map(|status| status.message),
            interest: Interest::Exactly { names: resource_names, version: version_info },
            locators: !resource_locators.is_empty(),
        }
    }
}

impl From<DeltaRequest> for Request {
    fn from(request: DeltaRequest) -> Self {
        let DeltaRequest {
            node,
            type_url,
            resource_names_subscribe,
            resource_names_unsubscribe,
            resource_locators_subscribe,
            resource_locators_unsubscribe,
            initial_resource_versions,
            response_nonce,
            error_detail,
        } = request;
        Self {
            node: node.map(Node::from),
            type_url,
            nonce: response_nonce,
            error: error_detail.map(|status| status.message),
            interest: Interest::Change {
                subscribe: resource_names_subscribe,
                unsubscribe: resource_names_unsubscribe,
                holds: initial_resource_versions,
            },
            locators: !resource_locators_subscribe.is_empty() || !resource_locators_unsubscribe.is_empty(),
        }
    }
}

impl From<EnvoyNode> for Node {
    fn from(node: EnvoyNode) -> Self {
        let metadata = |field: &str| {
            let fields = node.metadata.as_ref()?.fields.get(METADATA_NAMESPACE)?;
            let Some(Value::StructValue(fields)) = &fields.kind else { return None };
            match &fields.fields.get(field)?.kind {
                Some(Value::StringValue(text)) if !text.is_empty() => Some(text.clone()),
                _ => None,
            }
        };
        let filter_path = metadata(FILTER_PATH_FIELD);
        let zone = node.locality.map(|locality| locality.zone).unwrap_or_default();
        Self { id: node.id, fleet: node.cluster, zone, user_agent: node.user_agent_name, filter_path }
    }
}

impl From<Response> for StateResponse {
    fn from(response: Response) -> Self {
        let Response { kind, nonce, version, resources, removed: _ } = response;
        Self {
            version_info: version.to_string(),
            resources: resources.iter().map(|delivery| delivery.resource.any(delivery.form)).collect(),
            type_url: kind.type_url().to_owned(),
            nonce,
        }
    }
}

impl From<Response> for DeltaResponse {
    fn from(response: Response) -> Self {
        let Response { kind, nonce, version, resources, removed } = response;
        Self {
            system_version_info: version.to_string(),
            resources: resources.iter().map(|delivery| delivery.resource.resource(delivery.form)).collect(),
            type_url: kind.type_url().to_owned(),
            nonce,
            removed_resources: removed.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
