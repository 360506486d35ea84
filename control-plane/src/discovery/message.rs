//! The protocol's messages on the wire.
//!
//! Requests are envoy-types' own. Responses are written here, with their resources as bytes: a resource is encoded when its snapshot is built, and
//! not once more for every stream that sends it.

use std::collections::VecDeque;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node as EnvoyNode;
use envoy_types::pb::google::protobuf::value::Kind as Value;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::Status;

pub(super) use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest as DeltaRequest, DiscoveryRequest as StateRequest,
};

use super::grpc::PREFIX;
use crate::bootstrap::{FILTER_PATH_FIELD, METADATA_NAMESPACE};
use crate::stream::{Node, Request, Response};
use crate::subscription::{Interest, Variant};

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

/// A response as it goes over the wire, in pieces: `DiscoveryResponse` or `DeltaDiscoveryResponse`, which have the same fields for the same things,
/// with the prefix of a gRPC message.
pub(super) fn encode(variant: Variant, response: Response) -> Result<VecDeque<Bytes>, Status> {
    let Response { kind, nonce, version, resources, removed } = response;
    let (resources, removed): (Vec<Bytes>, _) = match variant {
        Variant::StateOfTheWorld => {
            (resources.iter().map(|one| one.resource.any(one.form)).collect(), Vec::new())
        }
        Variant::Delta => (resources.iter().map(|one| one.resource.resource(one.form)).collect(), removed),
    };
    let mut pieces = Pieces::default();
    pieces.last.extend_from_slice(&[0; PREFIX]);
    pieces.field(VERSION, version.as_bytes());
    for resource in resources {
        pieces.shared(RESOURCE, resource);
    }
    pieces.field(TYPE_URL, kind.type_url().as_bytes());
    pieces.field(NONCE, nonce.as_bytes());
    for name in removed {
        pieces.field(REMOVED, name.as_bytes());
    }
    pieces.finish()
}

/// Tags of fields.
const VERSION: u32 = 1;
const RESOURCE: u32 = 2;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;
const REMOVED: u32 = 6;

/// Resources of so many bytes are sent from where every stream sends them. Smaller ones are copied: each piece is a frame of its own.
const SHARED: usize = 4 * 1024;

#[derive(Default)]
struct Pieces {
    done: VecDeque<Bytes>,
    last: Vec<u8>,
}

impl Pieces {
    fn field(&mut self, tag: u32, bytes: &[u8]) {
        self.head(tag, bytes.len());
        self.last.extend_from_slice(bytes);
    }

    fn shared(&mut self, tag: u32, bytes: Bytes) {
        if bytes.len() < SHARED {
            self.field(tag, &bytes);
        } else {
            self.head(tag, bytes.len());
            self.done.push_back(std::mem::take(&mut self.last).into());
            self.done.push_back(bytes);
        }
    }

    fn head(&mut self, tag: u32, length: usize) {
        encode_key(tag, WireType::LengthDelimited, &mut self.last);
        encode_varint(length as u64, &mut self.last);
    }

    /// Closes the last piece, and writes the length of all into the first.
    fn finish(mut self) -> Result<VecDeque<Bytes>, Status> {
        let length = self.done.iter().map(Bytes::len).sum::<usize>() + self.last.len() - PREFIX;
        let length = u32::try_from(length).map_err(|_| Status::internal("a response of more than 4 GiB"))?;
        let mut first = match self.done.pop_front() {
            Some(first) => Vec::from(first),
            None => std::mem::take(&mut self.last),
        };
        if let Some(prefix) = first.get_mut(1..PREFIX) {
            prefix.copy_from_slice(&length.to_be_bytes());
        }
        first.shrink_to_fit();
        self.done.push_front(first.into());
        if !self.last.is_empty() {
            self.done.push_back(self.last.into());
        }
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests;
