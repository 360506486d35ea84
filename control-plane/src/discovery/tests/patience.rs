//! How long the adapters wait, by a clock that the test moves: a stream without a network.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use prost::Message;
use tokio::time::Instant;

use super::*;

/// One stream of an Envoy that has come back with what it had.
struct Returned {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Body,
}

impl Returned {
    /// It names its listener, which is current, and its route, which is not.
    async fn new() -> Self {
        let set = |name: &str, content: &str| {
            let resource = Resource::new(name, &StringValue { value: content.to_owned() });
            Arc::new(ResourceSet::new([Arc::new(resource)]))
        };
        let listeners = set("l", "1");
        let version = listeners.get("l").unwrap().version().to_string();
        let snapshot = Snapshot::default().with(Kind::Listener, listeners).with(Kind::Route, set("r", "new"));
        let context = Arc::new(context(1, Duration::ZERO));
        context.cache.publish(&BTreeMap::from([("edge".to_owned(), Arc::new(snapshot))]));

        let (requests, receiver) = mpsc::channel(16);
        let framed = |request: DeltaDiscoveryRequest| {
            let message = request.encode_to_vec();
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            Ok::<_, Infallible>(Bytes::from([&[0][..], &length, &message].concat()))
        };
        let body = Body::from_stream(ReceiverStream::new(receiver).map(framed));
        let options = Options { only: None, legacy_wildcard: true, seed: 0, secrets: true };
        let opened =
            session::open::<DeltaRequest>(&context, Variant::Delta, options, Request::new(body)).unwrap();
        let stream = Self { requests, responses: opened.into_body() };
        stream.resume(Kind::Listener, &[], ("l", &version)).await;
        stream.resume(Kind::Route, &["r"], ("r", "old")).await;
        stream
    }

    async fn resume(&self, kind: Kind, subscribe: &[&str], (name, version): (&str, &str)) {
        let request = DeltaDiscoveryRequest {
            node: Some(Node { user_agent_name: "envoy".into(), ..node() }),
            type_url: kind.type_url().into(),
            resource_names_subscribe: subscribe.iter().map(ToString::to_string).collect(),
            initial_resource_versions: [(name.to_owned(), version.to_owned())].into(),
            ..Default::default()
        };
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> DeltaDiscoveryResponse {
        let frame = self.responses.frame().await.unwrap().unwrap().into_data().unwrap();
        DeltaDiscoveryResponse::decode(frame.slice(5..)).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn an_envoy_that_never_asks_for_clusters_is_waited_for_sixteen_seconds() {
    let mut envoy = Returned::new().await;
    let begun = Instant::now();
    assert_eq!(names(&envoy.next().await), ["r"]);
    let waited = begun.elapsed();
    assert!((Duration::from_secs(16)..Duration::from_millis(16_100)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_envoy_that_asks_for_clusters_is_waited_for_no_longer() {
    let mut envoy = Returned::new().await;
    let begun = Instant::now();
    let early = tokio::time::timeout(Duration::from_secs(5), envoy.next()).await;
    assert!(early.is_err(), "{early:?}");
    envoy.resume(Kind::Cluster, &[], ("old", "1")).await;
    // The old cluster is still in use: routes first.
    assert_eq!(names(&envoy.next().await), ["r"]);
    assert!(begun.elapsed() < Duration::from_millis(5_100), "{:?}", begun.elapsed());
}
