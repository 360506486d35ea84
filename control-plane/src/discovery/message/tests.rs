use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use envoy_types::pb::google::protobuf::{StringValue, Struct, Value as ProtobufValue};
use envoy_types::pb::google::rpc;
use prost::Message;

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

/// A message without its prefix, which must say how long it is.
fn encoded(variant: Variant, response: Response) -> Vec<u8> {
    let pieces = encode(variant, response).unwrap();
    let mut bytes: Vec<u8> = pieces.iter().flatten().copied().collect();
    let message = bytes.split_off(PREFIX);
    assert_eq!(bytes, [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat());
    message
}

#[test]
fn responses_are_on_the_wire_what_envoy_types_would_have_made_of_them() {
    let ours = encoded(Variant::Delta, response());
    let theirs = DeltaDiscoveryResponse::decode(&*ours).unwrap();
    assert_eq!((&*theirs.system_version_info, &*theirs.nonce), ("v", "7"));
    assert_eq!(theirs.type_url, Kind::Listener.type_url());
    assert_eq!(theirs.removed_resources, ["gone"]);
    let [resource] = &*theirs.resources else { panic!() };
    assert_eq!((&*resource.name, resource.resource.as_ref()), ("web", Some(&any(&value("first")))));
    assert_eq!(resource.version, response().resources[0].version().to_string());

    let ours = encoded(Variant::StateOfTheWorld, response());
    let theirs = DiscoveryResponse::decode(&*ours).unwrap();
    assert_eq!((&*theirs.version_info, &*theirs.nonce), ("v", "7"));
    assert_eq!(theirs.type_url, Kind::Listener.type_url());
    assert_eq!(theirs.resources, [any(&value("first"))]);
}

#[test]
fn what_is_large_is_not_copied() {
    let large = |name: &str| Arc::new(Resource::new(name, &value(&"x".repeat(SHARED))));
    let (first, second) = (large("first"), large("second"));
    let deliver = |resource: &Arc<Resource>| Delivery { resource: Arc::clone(resource), form: Form::First };
    let resources = vec![deliver(&first), response().resources.remove(0), deliver(&second)];
    let response = Response { resources, ..response() };
    for (variant, bytes) in [
        (Variant::Delta, [first.resource(Form::First), second.resource(Form::First)]),
        (Variant::StateOfTheWorld, [first.any(Form::First), second.any(Form::First)]),
    ] {
        let pieces = encode(variant, response.clone()).unwrap();
        let same = |bytes: &Bytes| pieces.iter().any(|piece| piece.as_ptr() == bytes.as_ptr());
        assert!(bytes.iter().all(same), "{variant:?}");
    }
    let theirs = DeltaDiscoveryResponse::decode(&*encoded(Variant::Delta, response.clone())).unwrap();
    let names: Vec<_> = theirs.resources.iter().map(|resource| &*resource.name).collect();
    assert_eq!((names, &*theirs.nonce), (vec!["first", "web", "second"], "7"));
    let theirs = DiscoveryResponse::decode(&*encoded(Variant::StateOfTheWorld, response)).unwrap();
    assert_eq!(theirs.resources[2], any(&value(&"x".repeat(SHARED))));
}

#[test]
fn every_form_of_a_filter_has_other_bytes_under_the_same_name_and_version() {
    let filter = Arc::new(Resource::filter("spillway/edge", &"{}".into(), &"5ha".into()));
    let forms = [Form::First, Form::Update, Form::Again(1), Form::Again(2)].map(|form| {
        let resources = vec![Delivery { resource: Arc::clone(&filter), form }];
        let response = Response { resources, ..response() };
        let state = encoded(Variant::StateOfTheWorld, response.clone());
        let state = DiscoveryResponse::decode(&*state).unwrap().resources.remove(0);
        let delta = encoded(Variant::Delta, response);
        let delta = DeltaDiscoveryResponse::decode(&*delta).unwrap().resources.remove(0);
        assert_eq!((&*delta.name, &*delta.version), ("spillway/edge", &**filter.version()));
        assert_eq!(delta.resource, Some(state.clone()));
        state.value
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
