//! Route configurations as bytes that are the same in every process.
//!
//! The version of a resource is a hash of its bytes, and the generated types keep maps in an order that differs from process to process. The only map with more
//! than one entry is that of a virtual host's tree, so the messages around it are put together here, with the map in the order of its keys.

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::r#type::matcher::v3::{
    Matcher,
    matcher::{MatcherType, OnMatch, matcher_tree::TreeType},
};
use prost::encoding::{WireType, encode_key, encode_varint};
use prost::{Message, Name};

/// The numbers of the fields that lead to the map, as the protocol's files give them.
mod field {
    pub(super) const VIRTUAL_HOSTS: u32 = 2;
    pub(super) const MATCHER: u32 = 21;
    pub(super) const MATCHER_TREE: u32 = 2;
    pub(super) const PREFIX_MATCH_MAP: u32 = 3;
    pub(super) const MAP: u32 = 1;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// A route configuration with its type.
pub fn any(mut config: RouteConfiguration) -> Any {
    let hosts = std::mem::take(&mut config.virtual_hosts);
    let mut value = config.encode_to_vec();
    for one in hosts {
        append(field::VIRTUAL_HOSTS, &host(one), &mut value);
    }
    Any { type_url: RouteConfiguration::type_url(), value }
}

// What is taken apart below is taken over: ten thousand routes would be copied only to be left out of the copy.

fn host(mut host: VirtualHost) -> Vec<u8> {
    let tree = host.matcher.take();
    let mut bytes = host.encode_to_vec();
    if let Some(tree) = tree {
        append(field::MATCHER, &matcher(tree), &mut bytes);
    }
    bytes
}

fn matcher(mut matcher: Matcher) -> Vec<u8> {
    let Some(MatcherType::MatcherTree(tree)) = &mut matcher.matcher_type else {
        return matcher.encode_to_vec();
    };
    let mut entries: Vec<_> = match tree.tree_type.take() {
        Some(TreeType::PrefixMatchMap(map)) => map.map.into_iter().collect(),
        other => {
            tree.tree_type = other;
            return matcher.encode_to_vec();
        }
    };
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut encoded = Vec::new();
    for (key, value) in &entries {
        append(field::MAP, &entry(key, value), &mut encoded);
    }
    let mut of_tree = tree.encode_to_vec();
    append(field::PREFIX_MATCH_MAP, &encoded, &mut of_tree);
    matcher.matcher_type = None;
    let mut bytes = matcher.encode_to_vec();
    append(field::MATCHER_TREE, &of_tree, &mut bytes);
    bytes
}

fn entry(key: &str, value: &OnMatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(field::KEY, key.as_bytes(), &mut bytes);
    append(field::VALUE, &value.encode_to_vec(), &mut bytes);
    bytes
}

/// Appends a field whose content is bytes: a string, or a message.
fn append(field: u32, content: &[u8], bytes: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::route::tests::many_routes;

    #[test]
    fn what_is_encoded_is_the_same_message_and_the_same_bytes_every_time() {
        let config = many_routes(100);
        assert!(config.virtual_hosts.iter().all(|host| host.matcher.is_some() && host.routes.is_empty()));
        let first = any(config.clone());
        assert_eq!(RouteConfiguration::decode(first.value.as_slice()).unwrap(), config);
        for _ in 0..20 {
            // Each is a map of its own, with an order of its own.
            assert_eq!(any(many_routes(100)), first);
        }
    }

    #[test]
    fn a_list_is_encoded_as_always() {
        let config = many_routes(3);
        let encoded = any(config.clone());
        assert_eq!(RouteConfiguration::decode(encoded.value.as_slice()).unwrap(), config);
        assert_eq!(encoded.type_url, RouteConfiguration::type_url());
    }
}
