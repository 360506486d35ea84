//! CSDS: what each client has, for standard tools. A thin adapter over the streams that are open.

mod describe;
mod matcher;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use axum::Router;
use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_server::{
    ClientStatusDiscoveryService, ClientStatusDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::status::v3::{ClientConfig, ClientStatusRequest, ClientStatusResponse};
use futures_util::stream::{BoxStream, StreamExt};
use prost::Message;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::Context;
use matcher::Matchers;

/// Largest answer, in bytes. Whoever wants to know more at a time asks for fewer nodes, or without contents.
const MAX_RESPONSE: usize = 32 * 1024 * 1024;

/// The service's routes.
pub(super) fn routes(context: &Arc<Context>) -> Router {
    let service = ClientStatus { context: Arc::clone(context) };
    Routes::new(ClientStatusDiscoveryServiceServer::new(service)).into_axum_router()
}

#[derive(Debug, Clone)]
struct ClientStatus {
    context: Arc<Context>,
}

impl ClientStatus {
    fn answer(&self, request: &ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
        let matchers = Matchers::try_from(&*request.node_matchers)?;
        let contents = !request.exclude_resource_contents;
        // With separate services a client has several streams.
        let mut configs: BTreeMap<(String, String), ClientConfig> = BTreeMap::new();
        let mut size = 0;
        for client in self.context.clients.all() {
            let client = client.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(node) = client.stream.node().filter(|node| matchers.matches(&node.id)) else { continue };
            let config = configs
                .entry((node.fleet.clone(), node.id.clone()))
                .or_insert_with(|| ClientConfig { node: Some(described(node)), ..ClientConfig::default() });
            for resource in describe::resources(&client, contents) {
                size += resource.encoded_len();
                if size > MAX_RESPONSE {
                    return Err(Status::resource_exhausted(format!(
                        "the answer would have more than {MAX_RESPONSE} bytes: ask for fewer nodes (node_matchers), or without contents \
                         (exclude_resource_contents)"
                    )));
                }
                config.generic_xds_configs.push(resource);
            }
        }
        Ok(ClientStatusResponse { config: configs.into_values().collect() })
    }
}

#[tonic::async_trait]
impl ClientStatusDiscoveryService for ClientStatus {
    type StreamClientStatusStream = BoxStream<'static, Result<ClientStatusResponse, Status>>;

    async fn stream_client_status(
        &self,
        request: Request<Streaming<ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, Status> {
        let service = self.clone();
        let answers = request.into_inner().map(move |request| service.answer(&request?));
        let begun = self.context.shutdown.begun.clone();
        Ok(Response::new(answers.take_until(begun.cancelled_owned()).boxed()))
    }

    async fn fetch_client_status(
        &self,
        request: Request<ClientStatusRequest>,
    ) -> Result<Response<ClientStatusResponse>, Status> {
        self.answer(request.get_ref()).map(Response::new)
    }
}

fn described(node: &crate::stream::Node) -> Node {
    let crate::stream::Node { id, fleet, zone, user_agent, filter_path: _ } = node;
    Node {
        id: id.clone(),
        cluster: fleet.clone(),
        locality: (!zone.is_empty()).then(|| Locality { zone: zone.clone(), ..Locality::default() }),
        user_agent_name: user_agent.clone(),
        ..Node::default()
    }
}
