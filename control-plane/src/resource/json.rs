//! Encoded resources as JSON, for people who compare them.
//!
//! The generated types know their wire format only. What their fields are called comes from descriptors, which
//! the build makes of the same `.proto` files that the types are generated from.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // A test reads them; without any, every resource is shown as bytes.
    DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/envoy.binpb")).as_slice())
        .unwrap_or_default()
});

/// A message for people: the exact form, but a filter's configuration, which is JSON within a string, as what it is. Its revision is
/// left out: it is given when the configuration is published and says nothing about what it does.
pub fn json(type_url: &str, bytes: &[u8]) -> Value {
    let mut value = exact(type_url, bytes);
    open(&mut value);
    value
}

/// A message in the JSON form of protocol buffers, with fields named as Envoy's pages name them. What is not among the descriptors is shown
/// as its type and its bytes in hexadecimal.
pub fn exact(type_url: &str, bytes: &[u8]) -> Value {
    let known = POOL.get_message_by_name(type_url.rsplit('/').next().unwrap_or_default());
    let message = known.and_then(|descriptor| DynamicMessage::decode(descriptor, bytes).ok());
    let options = SerializeOptions::new().use_proto_field_name(true);
    let value = message
        .and_then(|message| message.serialize_with_options(serde_json::value::Serializer, &options).ok());
    let unknown = || json!({ "@type": type_url, "bytes": crate::snapshot::hexadecimal(bytes) });
    value.unwrap_or_else(unknown)
}

fn open(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(open),
        Value::Object(fields) => {
            let is_string = fields
                .get("@type")
                .and_then(Value::as_str)
                .is_some_and(|name| name.ends_with("/google.protobuf.StringValue"));
            let text = fields.get("value").and_then(Value::as_str).filter(|_| is_string);
            match text.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
                Some(Value::Object(mut configuration)) => {
                    configuration.remove("revision");
                    fields.insert("value".to_owned(), Value::Object(configuration));
                }
                _ => fields.values_mut().for_each(open),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;

    #[test]
    fn every_type_of_resource_has_a_descriptor() {
        for kind in Kind::ALL {
            assert_eq!(json(kind.type_url(), &[]), json!({}), "{kind:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_shown_as_bytes() {
        assert_eq!(json("x/no.Such", &[1, 0xff]), json!({ "@type": "x/no.Such", "bytes": "01ff" }));
        assert_eq!(json(Kind::Cluster.type_url(), &[0xff])["bytes"], "ff");
    }
}
