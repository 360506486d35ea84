//! CSDS, asked while a proxy is connected.

use envoy_types::pb::envoy::admin::v3::ClientResourceStatus;
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use envoy_types::pb::envoy::service::status::v3::{ClientStatusRequest, ClientStatusResponse, ConfigStatus};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{NodeMatcher, StringMatcher, StructMatcher};

use super::*;

async fn fetch(server: &Harness, request: ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
    let mut client = ClientStatusDiscoveryServiceClient::new(server.channel().await);
    client.fetch_client_status(request).await.map(tonic::Response::into_inner)
}

/// Asks until what one client has under a name is as expected.
async fn until(
    server: &Harness,
    name: &str,
    expected: impl Fn(&GenericXdsConfig) -> bool,
) -> GenericXdsConfig {
    let asked = async {
        loop {
            let response = fetch(server, ClientStatusRequest::default()).await.unwrap();
            let configs = response.config.into_iter().flat_map(|config| config.generic_xds_configs);
            if let Some(found) = configs.into_iter().find(|config| config.name == name && expected(config)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, asked).await.unwrap_or_else(|_| panic!("{name} never became as expected"))
}

fn value(config: &GenericXdsConfig) -> Option<String> {
    let any = config.xds_config.as_ref()?;
    Some(<StringValue as prost::Message>::decode(&*any.value).unwrap().value)
}

#[tokio::test]
async fn what_a_client_has_wants_and_refuses_is_told() {
    let server = serve().await;
    server.publish(Kind::Listener, &[("a", "1".into())]);
    let mut proxy = server.open().await;
    proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    let response = proxy.next().await.unwrap();
    let sent = until(&server, "a", |_| true).await;
    assert_eq!(sent.config_status(), ConfigStatus::Stale);
    assert_eq!((&*sent.version_info, value(&sent)), ("", None));

    proxy.accept(Kind::Listener, &response).await;
    let acked = until(&server, "a", |one| one.client_status() == ClientResourceStatus::Acked).await;
    assert_eq!(acked.config_status(), ConfigStatus::Synced);
    assert_eq!(acked.type_url, Kind::Listener.type_url());
    assert_eq!(acked.version_info, response.resources[0].version);
    assert_eq!(value(&acked).as_deref(), Some("1"));
    assert!(acked.last_updated.is_some() && acked.error_state.is_none());

    server.publish(Kind::Listener, &[("a", "bad".into())]);
    let response = proxy.next().await.unwrap();
    let refusal = DeltaDiscoveryRequest {
        response_nonce: response.nonce.clone(),
        error_detail: Some(rpc::Status { message: "no \"s3cret\"".into(), ..Default::default() }),
        ..Default::default()
    };
    proxy.send(Kind::Listener, refusal).await;
    let nacked = until(&server, "a", |one| one.client_status() == ClientResourceStatus::Nacked).await;
    // What it has in force is still the old version.
    assert_eq!((nacked.config_status(), nacked.version_info), (ConfigStatus::Error, acked.version_info));
    let error = nacked.error_state.unwrap();
    assert_eq!(error.details, "no \"[redacted]\"");
    assert_eq!(error.version_info, response.resources[0].version);
    assert!(error.failed_configuration.is_some() && error.last_update_attempt.is_some());

    let wanted = DeltaDiscoveryRequest { resource_names_subscribe: vec!["x".into()], ..Default::default() };
    proxy.send(Kind::Route, wanted).await;
    let missing = until(&server, "x", |one| one.client_status() == ClientResourceStatus::DoesNotExist).await;
    assert_eq!(missing.type_url, Kind::Route.type_url());

    drop(proxy);
    let gone = async {
        while !fetch(&server, ClientStatusRequest::default()).await.unwrap().config.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
}

#[tokio::test]
async fn secrets_and_what_nobody_asked_for_are_left_out() {
    let server = serve().await;
    server.publish(Kind::Secret, &[("a", "s3cret".into())]);
    let mut proxy = server.open().await;
    let wanted = DeltaDiscoveryRequest { resource_names_subscribe: vec!["a".into()], ..Default::default() };
    proxy.send(Kind::Secret, wanted).await;
    let response = proxy.next().await.unwrap();
    proxy.accept(Kind::Secret, &response).await;
    let acked = until(&server, "a", |one| one.client_status() == ClientResourceStatus::Acked).await;
    assert_eq!(acked.xds_config, None);

    let node_id = |pattern, ignore_case| {
        let node_id = Some(StringMatcher { match_pattern: Some(pattern), ignore_case });
        ClientStatusRequest {
            node_matchers: vec![NodeMatcher { node_id, node_metadatas: Vec::new() }],
            ..Default::default()
        }
    };
    let cases = [
        (MatchPattern::Exact("edge-1".into()), false, 1),
        (MatchPattern::Exact("EDGE-1".into()), true, 1),
        (MatchPattern::Exact("edge".into()), false, 0),
        (MatchPattern::Prefix("edge".into()), false, 1),
        (MatchPattern::Suffix("-1".into()), false, 1),
        (MatchPattern::Contains("ge-".into()), false, 1),
        (MatchPattern::Contains("other".into()), false, 0),
    ];
    for (pattern, ignore_case, expected) in cases {
        let response = fetch(&server, node_id(pattern.clone(), ignore_case)).await.unwrap();
        assert_eq!(response.config.len(), expected, "{pattern:?}");
    }
    let by_metadata = NodeMatcher { node_id: None, node_metadatas: vec![StructMatcher::default()] };
    let request = ClientStatusRequest { node_matchers: vec![by_metadata], ..Default::default() };
    assert_eq!(fetch(&server, request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn contents_are_left_out_on_request_and_a_stream_answers_every_question() {
    let server = serve().await;
    server.publish(Kind::Listener, &[("a", "1".into())]);
    let mut proxy = server.open().await;
    proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    let response = proxy.next().await.unwrap();
    proxy.accept(Kind::Listener, &response).await;
    until(&server, "a", |one| one.xds_config.is_some()).await;

    let (requests, receiver) = mpsc::channel(1);
    let mut client = ClientStatusDiscoveryServiceClient::new(server.channel().await);
    let mut answers = client.stream_client_status(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    for exclude_resource_contents in [true, false] {
        let request = ClientStatusRequest { exclude_resource_contents, ..Default::default() };
        requests.send(request).await.unwrap();
        let answer = tokio::time::timeout(SOON, answers.message()).await.unwrap().unwrap().unwrap();
        let [config] = &*answer.config else { panic!("{answer:?}") };
        assert_eq!(config.node.as_ref().map(|node| (&*node.id, &*node.cluster)), Some(("edge-1", "edge")));
        let found = &config.generic_xds_configs[0];
        assert_eq!(found.xds_config.is_none(), exclude_resource_contents);
        assert_eq!(found.client_status(), ClientResourceStatus::Acked);
    }
}
