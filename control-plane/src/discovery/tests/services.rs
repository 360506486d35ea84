//! The separate services, which are the same state machine with a kind implied.

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::*;

/// Calls a method by its path, with one request, and gives the first response.
async fn ask<Q, R>(server: &Harness, path: &'static str, request: Q) -> Result<R, Status>
where
    Q: prost::Message + Send + 'static,
    R: prost::Message + Default + 'static,
{
    let mut client = Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    let (requests, receiver) = mpsc::channel(1);
    requests.send(request).await.unwrap();
    let request = tonic::Request::new(ReceiverStream::new(receiver));
    let codec = ProstCodec::<Q, R>::default();
    let mut responses = client.streaming(request, PathAndQuery::from_static(path), codec).await?.into_inner();
    let response = tokio::time::timeout(SOON, responses.message()).await.expect("no response in time")?;
    Ok(response.expect("the stream ended"))
}

fn state(type_url: &str) -> DiscoveryRequest {
    let resource_names = vec!["a".into()];
    DiscoveryRequest { node: Some(node()), type_url: type_url.into(), resource_names, ..Default::default() }
}

fn delta(type_url: &str) -> DeltaDiscoveryRequest {
    let resource_names_subscribe = vec!["a".into()];
    DeltaDiscoveryRequest {
        node: Some(node()),
        type_url: type_url.into(),
        resource_names_subscribe,
        ..Default::default()
    }
}

#[tokio::test]
async fn line_8_every_separate_service_implies_its_type_in_both_variants() {
    let server = serve().await;
    for (only, whole, changes) in SERVICES {
        let Some(kind) = only else { continue };
        server.publish(kind, &[("a", "1".into())]);
        let response: DiscoveryResponse = ask(&server, whole, state("")).await.unwrap();
        assert_eq!((&*response.type_url, response.resources.len()), (kind.type_url(), 1), "{whole}");
        let response: DeltaDiscoveryResponse = ask(&server, changes, delta("")).await.unwrap();
        assert_eq!((&*response.type_url, names(&response)), (kind.type_url(), vec!["a"]), "{changes}");
        // The type may be named all the same, but no other.
        ask::<_, DiscoveryResponse>(&server, whole, state(kind.type_url())).await.unwrap();
        let other = Kind::ALL.into_iter().find(|other| *other != kind).unwrap();
        let status = ask::<_, DiscoveryResponse>(&server, whole, state(other.type_url())).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
}

#[tokio::test]
async fn what_is_not_served_is_told_in_the_words_of_its_protocol() {
    let server = serve().await;
    let path = "/envoy.service.route.v3.RouteDiscoveryService/FetchRoutes";
    let status = ask::<_, DiscoveryResponse>(&server, path, state("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    assert!(status.message().contains(path), "{status}");

    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn secrets_are_not_served_where_anybody_could_read_them() {
    let server = serve_with(Context { secrets: false, ..context(100, Duration::ZERO) }).await;
    let secrets =
        Arc::new(ResourceSet::new([Arc::new(Resource::new("a", &StringValue { value: "s3cret".into() }))]));
    let snapshot = Snapshot::default().with(Kind::Secret, Arc::clone(&secrets)).with(Kind::Listener, secrets);
    server.context.cache.publish(&BTreeMap::from([("edge".to_owned(), Arc::new(snapshot))]));
    let mut proxy = server.open().await;
    let wanted = DeltaDiscoveryRequest { resource_names_subscribe: vec!["a".into()], ..Default::default() };
    proxy.send(Kind::Secret, wanted.clone()).await;
    proxy.send(Kind::Listener, wanted).await;
    // What comes is the answer to the second question.
    assert_eq!(proxy.next().await.unwrap().type_url, Kind::Listener.type_url());
    let path = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";
    let answer = ask::<_, DeltaDiscoveryResponse>(&server, path, delta(""));
    let early = tokio::time::timeout(Duration::from_millis(100), answer).await;
    assert!(early.is_err(), "{early:?}");
}
