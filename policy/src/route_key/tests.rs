use proptest::prelude::*;
use serde_json::{Value, json};

use crate::testing::Described;

use super::*;

fn route_key(alternatives: Value, request: &Described) -> Option<Vec<u8>> {
    let alternatives: Vec<KeyAlternative> = serde_json::from_value(alternatives).unwrap();
    let mut needs = Needs::default();
    let compiled = RouteKey::compile(&alternatives, &mut needs);
    let (mut asked, mut key) = (Asked::default(), b"left over".to_vec());
    asked.begin();
    let found = compiled.extract(request, &needs, &mut asked, &mut key);
    assert_eq!(found, !key.is_empty());
    found.then_some(key)
}

fn rule_key(parts: Value, route_key: &[u8], request: &Described) -> Vec<u8> {
    let parts: Vec<KeyPart> = serde_json::from_value(parts).unwrap();
    let mut needs = Needs::default();
    let compiled = RuleKey::compile(&parts, &mut needs);
    let (mut asked, mut key) = (Asked::default(), b"left over".to_vec());
    asked.begin();
    compiled.build(request, route_key, &needs, &mut asked, &mut key);
    key
}

fn two(a: impl AsRef<[u8]>, b: impl AsRef<[u8]>) -> Described {
    Described::default().header("a", a).header("b", b)
}

#[test]
fn each_source_gives_its_bytes() {
    let header = two(b"x:\\\xff", "");
    assert_eq!(
        route_key(json!([{ "header": "A" }]), &header).as_deref(),
        Some(&b"x:\\\xff"[..]),
        "alone, as it is"
    );
    let path = Described::path("/orders/acme/7?x=1");
    let template = json!([{ "template": "/orders/{tenant}/**", "key": "t-{tenant}" }]);
    assert_eq!(route_key(template, &path).as_deref(), Some(&b"t-acme"[..]));
    let client = Described::client("192.0.2.9:1234");
    let prefix = json!([{ "clientAddress": { "prefix": 24 } }]);
    assert_eq!(route_key(prefix, &client).as_deref(), Some(&b"192.0.2.0/24"[..]));
    assert_eq!(route_key(json!([{ "clientAddress": {} }]), &client).as_deref(), Some(&b"192.0.2.9"[..]));
    assert_eq!(route_key(json!([{ "value": "anyone" }]), &client).as_deref(), Some(&b"anyone"[..]));
}

#[test]
fn the_first_complete_alternative_wins() {
    let alternatives = json!([[{ "header": "a" }, { "header": "b" }], { "header": "b" }, { "header": "c" }, { "value": "none" }]);
    let key =
        |request: &Described| String::from_utf8(route_key(alternatives.clone(), request).unwrap()).unwrap();
    assert_eq!(key(&two("1", "2")), "1:2");
    assert_eq!(key(&Described::default().header("b", "2").header("c", "3")), "2");
    assert_eq!(key(&Described::default().header("a", "1").header("c", "3")), "3");
    assert_eq!(key(&Described::default()), "none");
    assert_eq!(key(&two("1", "")), "none", "an empty header is none");
    assert_eq!(route_key(json!([[{ "header": "a" }, { "header": "b" }]]), &two("1", "")), None);
}

#[test]
fn among_many_templates_too_the_first_complete_alternative_wins() {
    let mut sources: Vec<serde_json::Value> = (0..1_000)
        .map(|n| json!({ "template": format!("/t{n}/{{t}}/**"), "key": format!("{n}-{{t}}") }))
        .collect();
    sources[7] = json!([{ "template": "/t9/{t}", "key": "{t}" }, { "header": "a" }]);
    sources[8] = json!({ "header": "b" });
    let key =
        |request: &Described| route_key(json!(sources), request).map(|key| String::from_utf8(key).unwrap());
    let path = Described::path("/t9/x?q=/t0/y");
    assert_eq!(key(&path).as_deref(), Some("9-x"));
    assert_eq!(key(&path.clone().header("a", "1")).as_deref(), Some("x:1"));
    assert_eq!(key(&path.header("b", "2")).as_deref(), Some("2"));
    assert_eq!(key(&Described::path("/t999/x/y/z")).as_deref(), Some("999-x"));
    assert_eq!(key(&Described::path("/t1000/x")), None);
    assert_eq!(key(&Described::default().header("b", "2")).as_deref(), Some("2"));
}

#[test]
fn a_rule_s_missing_parts_are_empty() {
    let parts = json!(["routeKey", "backend", { "header": "a" }]);
    let request = Described { backend: Some("orders".into()), ..Described::default() };
    assert_eq!(rule_key(parts.clone(), b"acme", &request), b"acme:orders:");
    assert_eq!(rule_key(parts, b"", &Described::default()), b"::");
    assert_eq!(rule_key(json!(["routeKey"]), b"a:b", &request), b"a:b", "alone, as it is");
    assert_eq!(rule_key(json!([]), b"acme", &request), b"");
}

#[test]
fn joined_parts_are_escaped() {
    let parts = json!([{ "header": "a" }, { "header": "b" }]);
    assert_eq!(rule_key(parts.clone(), b"", &two("x:y", "z")), b"x\\:y:z");
    assert_eq!(rule_key(parts.clone(), b"", &two("x", "y:z")), b"x:y\\:z");
    assert_eq!(rule_key(parts, b"", &two("x\\", "\\y")), b"x\\\\:\\\\y");
}

#[test]
fn keys_over_256_bytes_are_hashed() {
    let alone = json!([{ "header": "a" }]);
    let fits = "x".repeat(256);
    assert_eq!(route_key(alone.clone(), &two(&fits, "")).as_deref(), Some(fits.as_bytes()));
    let long = "x".repeat(257);
    // As `printf %0257d 0 | tr 0 x | sha256sum` prints it.
    let hashed = "sha256:15eb95a462ee20bd91a415ae2d4aed341288186ddaa2b37908f7d592f0c3f85f";
    assert_eq!(String::from_utf8(route_key(alone, &two(&long, "")).unwrap()).unwrap(), hashed);
    let joined = json!([{ "header": "a" }, { "header": "b" }]);
    assert!(rule_key(joined, b"", &two(&fits, "y")).starts_with(b"sha256:"));
}

proptest! {
    #[test]
    fn different_parts_never_make_the_same_key(
        one in prop::collection::vec(prop::sample::select(b":\\a\xff".to_vec()), 0..6),
        other in prop::collection::vec(prop::sample::select(b":\\a\xff".to_vec()), 0..6),
        third in prop::collection::vec(prop::sample::select(b":\\a\xff".to_vec()), 0..6),
        fourth in prop::collection::vec(prop::sample::select(b":\\a\xff".to_vec()), 0..6),
    ) {
        let parts = json!([{ "header": "a" }, { "header": "b" }]);
        let same = one == third && other == fourth;
        let keys_same = rule_key(parts.clone(), b"", &two(&one, &other)) == rule_key(parts, b"", &two(&third, &fourth));
        prop_assert_eq!(same, keys_same);
    }

    #[test]
    fn any_bytes_make_a_key_of_bounded_length(
        path in prop::collection::vec(any::<u8>(), 0..600),
        header in prop::collection::vec(any::<u8>(), 0..600),
        client in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let request = Described { path: Some(path), client: Some(client), ..Described::default() }.header("a", header);
        let sources = json!([[{ "header": "a" }, { "template": "/{t}/**", "key": "{t}" }], { "clientAddress": { "prefix": 64 } }, { "value": "x" }]);
        let key = route_key(sources, &request).unwrap();
        prop_assert!(key.len() <= MAX_KEY);
    }
}

#[test]
fn what_of_a_grpc_call_is_a_key_is_there_where_the_content_type_says_grpc() {
    let call = |content_type: &str| {
        Described::path("/shop.Orders/Place").header("content-type", content_type).header("x-caller", "web")
    };
    for (source, key) in [
        (json!("service"), "shop.Orders"),
        (json!("method"), "Place"),
        (json!({ "metadata": "X-Caller" }), "web"),
    ] {
        let key_of = |request: &Described| route_key(json!([{ "grpc": source }]), request);
        assert_eq!(key_of(&call("application/grpc")).as_deref(), Some(key.as_bytes()), "{source}");
        assert_eq!(key_of(&call("application/json")), None, "{source}");
        let alternatives: Vec<KeyAlternative> = serde_json::from_value(json!([{ "grpc": source }])).unwrap();
        let mut needs = Needs::default();
        RouteKey::compile(&alternatives, &mut needs);
        assert_eq!(needs.path, key != "web", "{source}");
    }
}

#[test]
fn parts_of_an_alternative_are_escaped_and_a_single_one_is_not() {
    let request = two("1:2", "3");
    assert_eq!(route_key(json!([{ "header": "a" }]), &request).as_deref(), Some(&b"1:2"[..]));
    assert_eq!(route_key(json!([[{ "header": "a" }]]), &request).as_deref(), Some(&b"1:2"[..]));
    assert_eq!(
        route_key(json!([[{ "header": "a" }, { "header": "b" }]]), &request).as_deref(),
        Some(&b"1\\:2:3"[..])
    );
}

#[test]
fn more_than_four_templates_are_found_by_the_path() {
    for (templates, by_path) in [(1, false), (4, false), (5, true), (9, true)] {
        let one = |n| json!({ "template": format!("/{n}/{{t}}"), "key": "{t}" });
        let alternatives: Vec<KeyAlternative> =
            (0..templates).map(|n| serde_json::from_value(one(n)).unwrap()).collect();
        assert_eq!(
            RouteKey::compile(&alternatives, &mut Needs::default()).by_path.is_some(),
            by_path,
            "{templates}"
        );
    }
}
