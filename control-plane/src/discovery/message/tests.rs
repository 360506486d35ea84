use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use envoy_types::pb::google::protobuf::{Any, StringValue, Struct, Value as ProtobufValue};
use envoy_types::pb::google::rpc;

use super::*;
use crate::resource::{Kind, any};
use crate::snapshot::Resource;
use crate::subscription::Delivery;

fn value(text: &str) -> StringValue {
    StringValue { value: text.to_owned() }
}

fn response() -> Response {
    let resource = Resource::new("web", &value("first")).with_update(&value("update"));
    let delivery = |update| Delivery { resource: Arc::new(resource), update };
    Response {
        kind: Kind::Listener,
        nonce: "7".into(),
        version: "v".into(),
        resources: vec![delivery(false)],
        removed: vec!["gone".into()],
    }
}

#[test]
fn responses_are_on_the_wire_what_envoy_types_would_have_made_of_them() {
    let ours = DeltaResponse::from(response()).encode_to_vec();
    let theirs = DeltaDiscoveryResponse::decode(&*ours).unwrap();
    assert_eq!((&*theirs.system_version_info, &*theirs.nonce), ("v", "7"));
    assert_eq!(theirs.type_url, Kind::Listener.type_url());
    assert_eq!(theirs.removed_resources, ["gone"]);
    let [resource] = &*theirs.resources else { panic!() };
    assert_eq!((&*resource.name, resource.resource.as_ref()), ("web", Some(&any(&value("first")))));
    assert_eq!(resource.version, response().resources[0].version().to_string());

    let ours = StateResponse::from(response()).encode_to_vec();
    let theirs = DiscoveryResponse::decode(&*ours).unwrap();
    assert_eq!((&*theirs.version_info, &*theirs.nonce), ("v", "7"));
    assert_eq!(theirs.type_url, Kind::Listener.type_url());
    assert_eq!(theirs.resources, [any(&value("first"))]);
}

#[test]
fn an_update_has_other_bytes_under_the_same_name_and_version() {
    let mut response = response();
    response.resources[0].update = true;
    let state = StateResponse::from(response.clone());
    assert_eq!(Any::decode(state.resources[0].clone()).unwrap(), any(&value("update")));
    let delta =
        DeltaDiscoveryResponse::decode(&*DeltaResponse::from(response.clone()).encode_to_vec()).unwrap();
    assert_eq!(delta.resources[0].resource, Some(any(&value("update"))));
    assert_eq!(delta.resources[0].version, response.resources[0].version().to_string());
}

#[test]
fn a_request_is_a_refusal_exactly_if_it_says_what_is_wrong() {
    let refusal = rpc::Status { message: "no".into(), ..rpc::Status::default() };
    let request = Request::from(DeltaRequest { error_detail: Some(refusal), ..DeltaRequest::default() });
    assert_eq!(request.error.as_deref(), Some("no"));
    assert_eq!(Request::from(DeltaRequest::default()).error, None);
    // Without words it is one all the same.
    let request = StateRequest { error_detail: Some(rpc::Status::default()), ..StateRequest::default() };
    assert_eq!(Request::from(request).error.as_deref(), Some(""));
}

#[test]
fn a_node_says_where_its_own_module_is() {
    let text = |text: &str| ProtobufValue { kind: Some(Value::StringValue(text.into())) };
    let fields = |name: &str, value| Struct { fields: HashMap::from([(name.to_owned(), value)]) };
    let nested = |inner| ProtobufValue { kind: Some(Value::StructValue(inner)) };
    let path = |metadata| {
        let node = EnvoyNode { id: "a".into(), cluster: "edge".into(), metadata, ..EnvoyNode::default() };
        Node::from(node).filter_path
    };
    assert_eq!(path(None), None);
    let own = fields("spillway", nested(fields("filter_path", text("/opt/filter.wasm"))));
    assert_eq!(path(Some(own)).as_deref(), Some("/opt/filter.wasm"));
    assert_eq!(path(Some(fields("spillway", text("/opt/filter.wasm")))), None);
    assert_eq!(path(Some(fields("spillway", nested(fields("filter_path", text("")))))), None);
    assert_eq!(path(Some(fields("filter_path", text("/opt/filter.wasm")))), None);
}
