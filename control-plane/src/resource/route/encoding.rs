//! Route configurations as bytes, put together of routes that are bytes already.
//!
//! Ten thousand routes are copied in a millisecond where encoding them takes a hundred. And the version of a resource is a hash of its bytes, which have to be the same in every process: the generated
//! types keep the map of a tree in an order that differs, here it is in the order of its keys.

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, RouteList, VirtualHost};
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::MatcherTree;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost::{Message, Name};

use super::Entry;
use super::tree::Leaves;
use crate::resource;

/// A virtual host.
pub(super) struct Host<'a> {
    /// All but its routes.
    pub(super) shell: VirtualHost,
    pub(super) routes: Vec<&'a Entry>,
    /// The tree of the routes, if it is no list.
    pub(super) leaves: Option<Leaves<'a>>,
}

/// The numbers of the fields that are put together here, as the protocol's files give them: `envoy.config.route.v3` down to the matcher, `xds.type.matcher.v3` from
/// there to the actions, which are lists of routes.
mod field {
    pub(super) const VIRTUAL_HOSTS: u32 = 2;
    pub(super) const ROUTES: u32 = 3;
    pub(super) const MATCHER: u32 = 21;

    pub(super) const MATCHER_TREE: u32 = 2;
    pub(super) const ON_NO_MATCH: u32 = 3;
    pub(super) const PREFIX_MATCH_MAP: u32 = 3;
    pub(super) const MAP: u32 = 1;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const ACTION: u32 = 2;

    pub(super) const EXTENSION_NAME: u32 = 1;
    pub(super) const TYPED_CONFIG: u32 = 2;
    pub(super) const TYPE_URL: u32 = 1;
    pub(super) const ANY_VALUE: u32 = 2;
    pub(super) const LISTED_ROUTES: u32 = 1;
}

/// A route configuration with its type; `shell` is all of it but its hosts.
pub(super) fn any<'a>(shell: &RouteConfiguration, hosts: impl IntoIterator<Item = Host<'a>>) -> Any {
    let mut value = shell.encode_to_vec();
    let mut nested = Nested::default();
    for one in hosts {
        host(&one, &mut nested);
        nested.wrap(&[], field::VIRTUAL_HOSTS);
        nested.append_to(&mut value);
    }
    Any { type_url: RouteConfiguration::type_url(), value }
}

fn host(Host { shell, routes, leaves }: &Host<'_>, nested: &mut Nested) {
    let shell = shell.encode_to_vec();
    match leaves {
        None => {
            nested.begin(&shell);
            list(field::ROUTES, routes.iter().copied(), &mut nested.content);
        }
        Some(leaves) => {
            matcher(routes, leaves, nested);
            nested.wrap(&shell, field::MATCHER);
        }
    }
}

/// Envoy hands the tree the header `:path`.
fn matcher<'r>(routes: &'r [&Entry], Leaves { by_key, other }: &'r Leaves<'_>, nested: &mut Nested) {
    let mut action = Action::new();
    let listed = |numbers: &'r [usize]| numbers.iter().filter_map(|number| routes.get(*number).copied());
    nested.begin(&[]);
    let mut key = Vec::new();
    for (path, numbers) in by_key {
        key.clear();
        append(field::KEY, path.as_bytes(), &mut key);
        let entry = action.of(listed(numbers));
        entry.wrap(&key, field::VALUE);
        entry.wrap(&[], field::MAP);
        entry.append_to(&mut nested.content);
    }
    let input = HttpRequestHeaderMatchInput { header_name: ":path".to_owned() };
    // The protocol has two messages of this name, and trees are made of the one that does not come from Envoy.
    let input = TypedExtensionConfig { name: "path".to_owned(), typed_config: Some(resource::any(&input)) };
    let tree = MatcherTree { input: Some(input), tree_type: None }.encode_to_vec();
    nested.wrap(&tree, field::PREFIX_MATCH_MAP);
    let mut matcher = Vec::new();
    if !other.is_empty() {
        let action = action.of(listed(other));
        action.wrap(&[], field::ON_NO_MATCH);
        action.append_to(&mut matcher);
    }
    nested.wrap(&matcher, field::MATCHER_TREE);
}

/// A list of routes as what a tree does with a request that comes to one of its leaves.
struct Action {
    extension_name: Vec<u8>,
    type_url: Vec<u8>,
    nested: Nested,
}

impl Action {
    fn new() -> Self {
        let (mut extension_name, mut type_url) = (Vec::new(), Vec::new());
        append(field::EXTENSION_NAME, b"routes", &mut extension_name);
        append(field::TYPE_URL, RouteList::type_url().as_bytes(), &mut type_url);
        Self { extension_name, type_url, nested: Nested::default() }
    }

    fn of<'e>(&mut self, routes: impl Iterator<Item = &'e Entry>) -> &mut Nested {
        let Self { extension_name, type_url, nested } = self;
        nested.begin(&[]);
        list(field::LISTED_ROUTES, routes, &mut nested.content);
        nested.wrap(type_url, field::ANY_VALUE);
        nested.wrap(extension_name, field::TYPED_CONFIG);
        nested.wrap(&[], field::ACTION);
        nested
    }
}

/// Messages within each other. The length of each stands before it, so they are put together from the inside, and the content, which may be long, stays where
/// it is while what stands before it grows.
#[derive(Default)]
struct Nested {
    before: Vec<u8>,
    content: Vec<u8>,
    spare: Vec<u8>,
}

impl Nested {
    /// Begins another message, with some of it.
    fn begin(&mut self, some: &[u8]) {
        self.content.clear();
        self.before.clear();
        self.before.extend_from_slice(some);
    }

    /// Makes what there is the last field of a message that has `other` before.
    fn wrap(&mut self, other: &[u8], field: u32) {
        let Self { before, content, spare } = self;
        spare.clear();
        spare.extend_from_slice(other);
        encode_key(field, WireType::LengthDelimited, spare);
        encode_varint((before.len() + content.len()) as u64, spare);
        spare.append(before);
        std::mem::swap(before, spare);
    }

    fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.reserve(self.before.len() + self.content.len());
        bytes.extend_from_slice(&self.before);
        bytes.extend_from_slice(&self.content);
    }
}

fn list<'e>(field: u32, routes: impl Iterator<Item = &'e Entry>, bytes: &mut Vec<u8>) {
    for route in routes {
        append(field, &route.bytes, bytes);
    }
}

/// Appends a field whose content is bytes: a string, or a message.
fn append(field: u32, content: &[u8], bytes: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::route::v3::Route;
    use envoy_types::pb::xds::r#type::matcher::v3::{
        Matcher,
        matcher::{
            MatcherType, OnMatch,
            matcher_tree::{MatchMap, TreeType},
            on_match,
        },
    };

    use super::*;
    use crate::resource::route::tests::{many_routes, rendered_many};

    fn on_match(routes: Vec<Route>) -> OnMatch {
        let typed_config = Some(resource::any(&RouteList { routes }));
        let extension = TypedExtensionConfig { name: "routes".into(), typed_config };
        OnMatch { keep_matching: false, on_match: Some(on_match::OnMatch::Action(extension)) }
    }

    #[test]
    fn a_tree_is_encoded_as_the_message_that_it_is() {
        let (bytes, config) = (rendered_many(100), many_routes(100));
        let [host] = &config.virtual_hosts[..] else { panic!("{config:?}") };
        assert!(host.routes.is_empty());
        let matcher = host.matcher.as_ref().unwrap();
        let Some(MatcherType::MatcherTree(tree)) = &matcher.matcher_type else { panic!("{matcher:?}") };
        let Some(TreeType::PrefixMatchMap(MatchMap { map })) = &tree.tree_type else { panic!("{tree:?}") };
        assert_eq!(map.len(), 101);
        // `/service-7` and everything; but for `/service-77`, which is no element of it.
        let listed = |at: &str| {
            let Some(on_match::OnMatch::Action(action)) = &map[at].on_match else { panic!("{map:?}") };
            let any = action.typed_config.as_ref().unwrap();
            assert_eq!(any.type_url, RouteList::type_url());
            let routes = RouteList::decode(any.value.as_slice()).unwrap().routes;
            assert_eq!(map[at], on_match(routes.clone()));
            routes.into_iter().map(|route| route.name).collect::<Vec<_>>()
        };
        assert_eq!(listed("/service-77"), ["one/r77", "one/rest"]);
        assert_eq!(listed("/"), ["one/rest"]);
        assert_eq!(bytes.type_url, RouteConfiguration::type_url());
        // Nothing is there twice or in an unknown field, and no message is longer than it has to be.
        assert_eq!(config.encoded_len(), bytes.value.len());
    }

    #[test]
    fn what_no_key_leads_to_is_what_there_is_on_no_match() {
        let expression = "{name: any, matches: [{path: {type: RegularExpression, value: '.*a'}}], backendRefs: [{name: a}]}";
        let rules = (0..20).map(|n| {
            format!("{{name: r{n}, matches: [{{path: {{type: Exact, value: /{n}}}}}], backendRefs: [{{name: a}}]}}")
        });
        let rules = rules.chain([expression.to_owned()]).collect::<Vec<_>>().join(", ");
        let config = crate::resource::route::tests::routes(&[&format!("rules: [{rules}]")]);
        let Matcher { on_no_match, matcher_type: _ } = config.virtual_hosts[0].matcher.clone().unwrap();
        let Some(on_match::OnMatch::Action(action)) = on_no_match.unwrap().on_match else { panic!() };
        let list = RouteList::decode(action.typed_config.unwrap().value.as_slice()).unwrap();
        let names: Vec<_> = list.routes.iter().map(|route| route.name.as_str()).collect();
        assert_eq!(names, ["one/any"]);
    }

    #[test]
    fn few_routes_are_encoded_as_a_list() {
        let (bytes, config) = (rendered_many(3), many_routes(3));
        assert_eq!(config.virtual_hosts[0].routes.len(), 4);
        assert_eq!(config.encoded_len(), bytes.value.len());
    }
}
