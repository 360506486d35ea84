//! The adapters over real connections: what the state machine can't show.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use envoy_types::pb::google::protobuf::StringValue;
use envoy_types::pb::google::rpc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::incoming::Incoming;
use super::*;
use crate::resource::Kind;
use crate::snapshot::{Resource, ResourceSet, Snapshot};

/// Longer than anything here takes, even on a busy machine.
const SOON: Duration = Duration::from_secs(20);

mod client_status;
mod limits;
mod load_reports;
mod patience;
mod services;

struct Harness {
    context: Arc<Context>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// A context whose streams end over as much as `grace`.
fn context(max_streams: usize, grace: Duration) -> Context {
    Context {
        cache: Arc::default(),
        fleets: Fleets::default(),
        clients: Arc::new(Clients::new(max_streams)),
        loads: Arc::default(),
        load_interval: Duration::from_secs(10),
        secrets: true,
        shutdown: Shutdown { begun: CancellationToken::new(), grace },
    }
}

async fn serve() -> Harness {
    serve_with(context(100, Duration::from_secs(10))).await
}

async fn serve_with(context: Context) -> Harness {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let context = Arc::new(context);
    let incoming = Incoming::new(listener, None, 100);
    let served = server().add_routes(Routes::from(routes(&context))).serve_with_incoming_shutdown(
        incoming.into_stream(),
        context.shutdown.begun.clone().cancelled_owned(),
    );
    Harness { context, address, server: tokio::spawn(async { served.await.unwrap() }) }
}

impl Harness {
    fn publish(&self, kind: Kind, contents: &[(&str, String)]) {
        let resource = |(name, value): &(&str, String)| {
            Arc::new(Resource::new(name, &StringValue { value: value.clone() }))
        };
        let set = Arc::new(ResourceSet::new(contents.iter().map(resource)));
        let snapshot = Arc::new(Snapshot::default().with(kind, set));
        self.context.cache.publish(&BTreeMap::from([("edge".to_owned(), snapshot)]));
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn connect(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        AggregatedDiscoveryServiceClient::new(self.channel().await)
    }

    async fn open(&self) -> Proxy {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = self.connect().await;
        let stream = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap();
        Proxy { requests, responses: stream.into_inner() }
    }
}

struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

fn node() -> Node {
    Node { id: "edge-1".into(), cluster: "edge".into(), ..Node::default() }
}

impl Proxy {
    async fn send(&self, kind: Kind, request: DeltaDiscoveryRequest) {
        let request =
            DeltaDiscoveryRequest { node: Some(node()), type_url: kind.type_url().into(), ..request };
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let next = tokio::time::timeout(SOON, self.responses.message()).await;
        next.expect("no response in time").map(|response| response.expect("the stream ended"))
    }

    async fn accept(&self, kind: Kind, response: &DeltaDiscoveryResponse) {
        let nonce = response.nonce.clone();
        self.send(kind, DeltaDiscoveryRequest { response_nonce: nonce, ..Default::default() }).await;
    }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| &*resource.name).collect()
}

#[tokio::test]
async fn a_proxy_waits_for_the_sources_and_then_follows_edits() {
    let server = serve().await;
    let mut proxy = server.open().await;
    proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    let early = tokio::time::timeout(Duration::from_millis(50), proxy.responses.message()).await;
    assert!(early.is_err(), "answered before anything was published: {early:?}");
    server.publish(Kind::Listener, &[("a", "1".into())]);
    let response = proxy.next().await.unwrap();
    assert_eq!(names(&response), ["a"]);
    proxy.accept(Kind::Listener, &response).await;
    server.publish(Kind::Listener, &[("a", "1".into()), ("b", "1".into())]);
    assert_eq!(names(&proxy.next().await.unwrap()), ["b"]);
}

#[tokio::test]
async fn a_refusal_is_kept_redacted_until_something_newer_is_accepted() {
    let server = serve().await;
    server.publish(Kind::Listener, &[("a", "bad".into())]);
    let mut proxy = server.open().await;
    proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    let response = proxy.next().await.unwrap();
    let message = "listener 'a': bad key \"s3cret\"".to_owned();
    let refusal = DeltaDiscoveryRequest {
        response_nonce: response.nonce,
        error_detail: Some(rpc::Status { message, ..Default::default() }),
        ..Default::default()
    };
    proxy.send(Kind::Listener, refusal).await;
    let seen = crate::stream::Node { id: "edge-1".into(), fleet: "edge".into(), ..Default::default() };
    let refusals = async {
        loop {
            let refusals = server.context.fleets.refused_by(&seen);
            if let Some(refusal) = refusals.get(&Kind::Listener) {
                return refusal.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let refusal = tokio::time::timeout(SOON, refusals).await.unwrap();
    assert_eq!(refusal.reason, "listener 'a': bad key \"[redacted]\"");

    server.publish(Kind::Listener, &[("a", "good".into())]);
    let response = proxy.next().await.unwrap();
    proxy.accept(Kind::Listener, &response).await;
    let cleared = async {
        while !server.context.fleets.refused_by(&seen).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, cleared).await.unwrap();
}

#[tokio::test]
async fn what_is_no_conversation_is_ended_with_words() {
    let server = serve().await;
    let mut nobody = server.open().await;
    let request = DeltaDiscoveryRequest { type_url: Kind::Listener.type_url().into(), ..Default::default() };
    nobody.requests.send(request).await.unwrap();
    let status = nobody.next().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("node"), "{status}");

    let mut located = server.open().await;
    let names = vec!["xdstp://authority/envoy.config.listener.v3.Listener/a".to_owned()];
    let request = DeltaDiscoveryRequest { resource_names_subscribe: names, ..Default::default() };
    located.send(Kind::Listener, request).await;
    let status = located.next().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("xdstp"), "{status}");
}

#[tokio::test]
async fn both_variants_are_served() {
    let server = serve().await;
    server.publish(Kind::Listener, &[("a", "1".into())]);
    let (requests, receiver) = mpsc::channel(1);
    let mut client = server.connect().await;
    let mut stream =
        client.stream_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let request = DiscoveryRequest {
        node: Some(node()),
        type_url: Kind::Listener.type_url().into(),
        ..Default::default()
    };
    requests.send(request).await.unwrap();
    let response = tokio::time::timeout(SOON, stream.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(response.resources.len(), 1);
}

#[tokio::test]
async fn line_33_a_client_that_does_not_read_holds_up_nobody() {
    let server = serve().await;
    let mut content = "0".repeat(1_000_000);
    server.publish(Kind::Listener, &[("a", content.clone())]);
    // It acknowledges blindly and never reads, so that there is always something due and nowhere to put it.
    let stuck = server.open().await;
    stuck.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    let mut proxy = server.open().await;
    proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    for edit in 0..20 {
        let response = proxy.next().await.unwrap();
        proxy.accept(Kind::Listener, &response).await;
        let blind = DeltaDiscoveryResponse { nonce: (edit + 1).to_string(), ..Default::default() };
        stuck.accept(Kind::Listener, &blind).await;
        content.push('0');
        server.publish(Kind::Listener, &[("a", content.clone())]);
    }
    drop(stuck);
}

#[tokio::test]
async fn rubbish_on_the_port_is_survived() {
    let server = serve().await;
    server.publish(Kind::Listener, &[("a", "1".into())]);
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let not_protobuf = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 9\r\n\r\n\0\0\0\0\x04\u{7f}\u{7f}\u{7f}\u{7f}"
    );
    for rubbish in [
        "\u{0}\u{1}\u{2}rubbish",
        "GET / HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxx",
        &not_protobuf,
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(rubbish.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Whatever it answers, it ends.
        let _ = tokio::time::timeout(SOON, socket.read_to_end(&mut answer)).await.unwrap();
    }
    let mut proxy = server.open().await;
    proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    assert_eq!(names(&proxy.next().await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_then_the_server() {
    let server = serve().await;
    server.publish(Kind::Listener, &[("a", "1".into())]);
    let mut proxy = server.open().await;
    proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    proxy.next().await.unwrap();
    server.context.shutdown.begun.cancel();
    assert_eq!(proxy.next().await.unwrap_err().code(), Code::Unavailable);
    drop(proxy);
    tokio::time::timeout(SOON, server.server).await.unwrap().unwrap();
}
