//! LRS: asks proxies for load reports and keeps what they report. A thin adapter to [`crate::load`].

mod message;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use envoy_types::pb::envoy::config::core::v3::Node as EnvoyNode;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server::{
    LoadReportingService, LoadReportingServiceServer,
};
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, Span, debug, info_span, warn};

use super::{Context, MAX_REQUEST};
use crate::resource::Kind;
use crate::snapshot::Snapshot;
use crate::stream::Node;

/// Says that a client reports all its clusters when asked to. One that does not has to be told their names.
const SENDS_ALL: &str = "envoy.lrs.supports_send_all_clusters";

/// The service's routes.
pub(super) fn routes(context: &Arc<Context>) -> Router {
    let service = LoadReports { context: Arc::clone(context) };
    let server = LoadReportingServiceServer::new(service).max_decoding_message_size(MAX_REQUEST);
    Routes::new(server).into_axum_router()
}

#[derive(Debug)]
struct LoadReports {
    context: Arc<Context>,
}

#[tonic::async_trait]
impl LoadReportingService for LoadReports {
    type StreamLoadStatsStream = BoxStream<'static, Result<LoadStatsResponse, Status>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let reporter = Reporter {
            inbound: request.into_inner(),
            context: Arc::clone(&self.context),
            client: None,
            full: false,
            span: info_span!("lrs", node = tracing::field::Empty, fleet = tracing::field::Empty),
        };
        let responses = stream::try_unfold(reporter, |mut reporter| async move {
            let span = reporter.span.clone();
            let response = reporter.next().instrument(span).await?;
            Ok(response.map(|response| (response, reporter)))
        });
        Ok(Response::new(responses.boxed()))
    }
}

/// One client's stream.
struct Reporter {
    inbound: Streaming<LoadStatsRequest>,
    context: Arc<Context>,
    /// There once the first request has said who it is.
    client: Option<Known>,
    full: bool,
    span: Span,
}

/// A client that has said who it is.
struct Known {
    node: Node,
    /// For a client that has to be told which clusters to report.
    clusters: Option<Clusters>,
}

/// The clusters that a client reports.
struct Clusters {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Their names, as it was told them.
    told: Option<BTreeSet<String>>,
}

impl Reporter {
    /// The next thing to ask the client for: once after it has said who it is, and again when the clusters change.
    async fn next(&mut self) -> Result<Option<LoadStatsResponse>, Status> {
        loop {
            let begun = self.context.shutdown.begun.clone();
            tokio::select! {
                // What is kept here dies with this process; there is nothing to end gracefully.
                () = begun.cancelled() => return Err(Status::unavailable("this control plane is shutting down")),
                request = self.inbound.message() => match request {
                    Ok(Some(request)) => {
                        if let Some(response) = self.receive(request)? {
                            return Ok(Some(response));
                        }
                    }
                    Ok(None) => return Ok(None),
                    Err(status) => {
                        debug!(reason = status.message(), "load reports lost");
                        return Ok(None);
                    }
                },
                () = changed(&mut self.client) => {
                    if let Some(response) = self.ask_by_name() {
                        return Ok(Some(response));
                    }
                }
            }
        }
    }

    fn receive(&mut self, request: LoadStatsRequest) -> Result<Option<LoadStatsResponse>, Status> {
        let LoadStatsRequest { node, cluster_stats } = request;
        let first = self.client.is_none();
        if first {
            self.client = Some(self.identify(node)?);
        }
        let Some(known) = &self.client else { return Ok(None) };
        let Node { fleet, id, .. } = &known.node;
        let reports = cluster_stats.into_iter().map(Into::into).collect();
        match self.context.loads.receive(fleet, id, reports, Instant::now()) {
            Ok(()) => self.full = false,
            Err(error) if !self.full => {
                self.full = true;
                warn!(%error, "load reports are incomplete");
            }
            Err(_) => {}
        }
        if !first {
            return Ok(None);
        }
        if known.clusters.is_none() {
            return Ok(Some(LoadStatsResponse { send_all_clusters: true, ..self.request() }));
        }
        Ok(self.ask_by_name())
    }

    fn identify(&self, node: Option<EnvoyNode>) -> Result<Known, Status> {
        let Some(node) = node.filter(|node| !node.id.is_empty() && !node.cluster.is_empty()) else {
            return Err(Status::invalid_argument(
                "the first request of a stream must carry a node with an id and a cluster (the fleet)",
            ));
        };
        let sends_all = node.client_features.iter().any(|feature| feature == SENDS_ALL);
        let node = Node::from(node);
        self.span.record("node", &node.id).record("fleet", &node.fleet);
        let subscribed = || Clusters { snapshots: self.context.cache.subscribe(&node.fleet), told: None };
        let clusters = (!sends_all).then(subscribed);
        Ok(Known { node, clusters })
    }

    /// The names of the fleet's clusters, if the client does not know them.
    fn ask_by_name(&mut self) -> Option<LoadStatsResponse> {
        let request = self.request();
        let Clusters { snapshots, told } = self.client.as_mut()?.clusters.as_mut()?;
        let snapshot = snapshots.borrow_and_update().clone()?;
        let names: BTreeSet<_> =
            snapshot.set(Kind::Cluster).iter().map(|cluster| cluster.name().to_string()).collect();
        if told.as_ref() == Some(&names) {
            return None;
        }
        *told = Some(names.clone());
        Some(LoadStatsResponse { clusters: names.into_iter().collect(), ..request })
    }

    fn request(&self) -> LoadStatsResponse {
        LoadStatsResponse {
            load_reporting_interval: Some(message::duration(self.context.load_interval)),
            report_endpoint_granularity: true,
            ..LoadStatsResponse::default()
        }
    }
}

/// Waits for other clusters, if it matters.
async fn changed(client: &mut Option<Known>) {
    let waited = match client.as_mut().and_then(|known| known.clusters.as_mut()) {
        Some(clusters) => clusters.snapshots.changed().await,
        None => std::future::pending().await,
    };
    if waited.is_err() {
        std::future::pending::<()>().await;
    }
}
