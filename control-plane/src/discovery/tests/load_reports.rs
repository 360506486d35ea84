//! LRS, as a client speaks it.

use envoy_types::pb::envoy::config::core::v3::{Address, Locality, SocketAddress, address, socket_address};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterStats, EndpointLoadMetricStats, UpstreamEndpointStats, UpstreamLocalityStats,
};
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::google::protobuf;

use super::*;
use crate::load::FleetLoad;

struct Reporter {
    requests: mpsc::Sender<LoadStatsRequest>,
    responses: Streaming<LoadStatsResponse>,
}

impl Reporter {
    async fn open(server: &Harness, features: &[&str]) -> Self {
        let (requests, receiver) = mpsc::channel(4);
        let client_features = features.iter().map(ToString::to_string).collect();
        let node = Some(Node { client_features, ..node() });
        requests.send(LoadStatsRequest { node, cluster_stats: Vec::new() }).await.unwrap();
        let mut client = LoadReportingServiceClient::new(server.channel().await);
        let stream = client.stream_load_stats(ReceiverStream::new(receiver)).await.unwrap();
        Self { requests, responses: stream.into_inner() }
    }

    async fn next(&mut self) -> LoadStatsResponse {
        tokio::time::timeout(SOON, self.responses.message()).await.unwrap().unwrap().unwrap()
    }
}

fn stats() -> ClusterStats {
    let port_specifier = Some(socket_address::PortSpecifier::PortValue(8080));
    let socket = SocketAddress { address: "10.0.0.1".into(), port_specifier, ..Default::default() };
    let address = Some(Address { address: Some(address::Address::SocketAddress(socket)) });
    let endpoint = |address| UpstreamEndpointStats {
        address,
        total_issued_requests: 100,
        total_error_requests: 10,
        load_metric_stats: vec![EndpointLoadMetricStats {
            metric_name: "cpu_utilization".into(),
            num_requests_finished_with_metric: 4,
            total_metric_value: 2.0,
        }],
        ..Default::default()
    };
    ClusterStats {
        cluster_name: "alpha".into(),
        load_report_interval: Some(protobuf::Duration { seconds: 10, nanos: 0 }),
        upstream_locality_stats: vec![UpstreamLocalityStats {
            locality: Some(Locality { zone: "a".into(), ..Default::default() }),
            total_issued_requests: 200,
            // The second can't be told from others, which has to do no harm.
            upstream_endpoint_stats: vec![endpoint(address), endpoint(None)],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn reported(server: &Harness) -> Vec<FleetLoad> {
    let waited = async {
        loop {
            let view = server.context.loads.view(std::time::Instant::now());
            if !view.is_empty() {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waited).await.unwrap()
}

#[tokio::test]
async fn a_client_that_can_is_asked_for_everything_and_what_it_reports_is_kept() {
    let server = serve().await;
    let mut envoy = Reporter::open(&server, &["envoy.lrs.supports_send_all_clusters"]).await;
    let asked = envoy.next().await;
    assert!(asked.send_all_clusters && asked.report_endpoint_granularity && asked.clusters.is_empty());
    assert_eq!(asked.load_reporting_interval, Some(protobuf::Duration { seconds: 10, nanos: 0 }));

    // The node comes only once.
    envoy.requests.send(LoadStatsRequest { node: None, cluster_stats: vec![stats()] }).await.unwrap();
    let view = reported(&server).await;
    let alpha = &view[0].clusters["alpha"];
    assert_eq!((&*view[0].fleet, alpha.proxies, alpha.rates.requests), ("edge", 1, 20.0));
    let [place] = &*alpha.localities else { panic!("{alpha:?}") };
    assert_eq!((&*place.zone, place.endpoints.len()), ("a", 1));
    let endpoint = &place.endpoints["10.0.0.1:8080"];
    assert_eq!((endpoint.rates.requests, endpoint.rates.errors), (10.0, 1.0));
    assert_eq!(endpoint.metrics.get("cpu_utilization"), Some(&0.5));
}

#[tokio::test]
async fn a_client_that_cannot_is_told_the_clusters_and_told_again_when_they_change() {
    let server = serve().await;
    server.publish(Kind::Cluster, &[("alpha", "1".into())]);
    let mut client = Reporter::open(&server, &[]).await;
    let asked = client.next().await;
    assert_eq!((asked.send_all_clusters, asked.clusters), (false, vec!["alpha".to_owned()]));
    // Another content of the same cluster is no other cluster.
    server.publish(Kind::Cluster, &[("alpha", "2".into())]);
    server.publish(Kind::Cluster, &[("alpha", "2".into()), ("beta", "1".into())]);
    assert_eq!(client.next().await.clusters, ["alpha", "beta"]);
}

#[tokio::test]
async fn a_client_that_does_not_say_who_it_is_is_refused() {
    let server = serve().await;
    let (requests, receiver) = mpsc::channel(1);
    requests.send(LoadStatsRequest::default()).await.unwrap();
    let mut client = LoadReportingServiceClient::new(server.channel().await);
    let mut stream = client.stream_load_stats(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let status = tokio::time::timeout(SOON, stream.message()).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
