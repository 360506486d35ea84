use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use envoy_types::pb::google::protobuf::{Any, StringValue, Struct, Value as ProtobufValue};
use envoy_types::pb::google::rpc;

use super::*;
use crate::resource::{Kind, any};
use crate::snapshot::{Form, Resource};
use crate::subscription::Delivery;

fn value(text: &str) -> StringValue {
    StringValue { value: text.to_owned() }
}

fn response() -> Response {
    let delivery = Delivery { resource: Arc::new(Resource::new("web", &value("first"))), form: Form::First };
    Response {
        kind: Kind::Listener,
        nonce: "7".into(),
        version: "v".into(),
        resources: vec![delivery],
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
fn every_form_of_a_filter_has_other_bytes_under_the_same_name_and_version() {
    let filter = Arc::new(Resource::filter("spillway/edge", &"{}".into(), &"5ha".into()));
    let forms = [Form::First, Form::Update, Form::Again(1), Form::Again(2)].map(|form| {
        let resources = vec![Delivery { resource: Arc::clone(&filter), form }];
        let response = Response { resources, ..response() };
        let state = StateResponse::from(response.clone()).resources.remove(0);
        let delta = DeltaResponse::from(response).encode_to_vec();
        let delta = DeltaDiscoveryResponse::decode(&*delta).unwrap().resources.remove(0);
        assert_eq!((&*delta.name, &*delta.version), ("spillway/edge", &**filter.version()));
        assert_eq!(delta.resource, Some(Any::decode(state.clone()).unwrap()));
        state
    });
    let unlike: std::collections::HashSet<_> = forms.iter().collect();
    assert_eq!(unlike.len(), forms.len());
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
