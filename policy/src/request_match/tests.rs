use proptest::prelude::*;

use super::*;
use crate::testing::Described;

fn matches(json: &str, request: &Described) -> bool {
    let list: Vec<RequestMatch> = serde_json::from_str(json).unwrap();
    assert_eq!(problems(&list), []);
    let mut needs = Needs::default();
    let matcher = Matcher::compile(&list, &mut needs);
    let mut asked = Asked::default();
    asked.begin();
    matcher.matches(request, &needs, &mut asked)
}

fn path(json: &str, path: &str) -> bool {
    matches(&format!(r#"[{{"path": {json}}}]"#), &Described::path(path))
}

#[test]
fn any_of_a_list_and_all_of_a_match() {
    let json =
        r#"[{"method": "POST", "path": {"value": "/a"}}, {"headers": [{"name": "X-Env", "value": "prod"}]}]"#;
    let request = || Described::path("/a/b");
    assert!(matches("[]", &request()));
    assert!(matches("[{}]", &request()));
    assert!(matches(json, &request().header(":method", b"POST")));
    assert!(!matches(json, &request().header(":method", b"post")));
    assert!(!matches(json, &request().header(":method", b"GET")));
    assert!(!matches(json, &Described::path("/b").header(":method", b"POST")));
    assert!(matches(json, &request().header(":method", b"GET").header("x-env", b"prod")));
    assert!(!matches(json, &request().header("x-env", b"production")));
}

#[test]
fn a_prefix_is_cut_at_path_elements() {
    for prefix in [r#"{"value": "/orders"}"#, r#"{"type": "PathPrefix", "value": "/orders/"}"#] {
        for inside in ["/orders", "/orders/", "/orders/7", "/orders?x=/y", "/orders#x"] {
            assert!(path(prefix, inside), "{inside}");
        }
        for outside in ["/ordersx", "/order", "/", "/Orders", "/x/orders", "", "*"] {
            assert!(!path(prefix, outside), "{outside}");
        }
    }
    for anything in ["/", "/a", "//", "/?q"] {
        assert!(path(r#"{"value": "/"}"#, anything), "{anything}");
    }
}

#[test]
fn exact_is_the_whole_path_without_its_query() {
    let exact = r#"{"type": "Exact", "value": "/orders"}"#;
    assert!(path(exact, "/orders") && path(exact, "/orders?x=1"));
    assert!(!path(exact, "/orders/") && !path(exact, "/orders/7"));
}

#[test]
fn an_expression_is_for_the_whole_of_it() {
    let expression = r#"{"type": "RegularExpression", "value": "/orders/[0-9]+|/health"}"#;
    assert!(
        path(expression, "/orders/17") && path(expression, "/orders/17?x") && path(expression, "/health")
    );
    assert!(
        !path(expression, "/orders/17/x")
            && !path(expression, "/x/orders/17")
            && !path(expression, "/healthy")
    );

    let header = r#"[{"headers": [{"name": "x", "type": "RegularExpression", "value": "a.*z"}]}]"#;
    assert!(matches(header, &Described::default().header("x", b"a\xff\xfez")), "any bytes");
    assert!(!matches(header, &Described::default().header("x", b"az\n1")));
    assert!(!matches(header, &Described::default()));
}

#[test]
fn query_parameters_are_compared_decoded() {
    let exact = r#"[{"queryParams": [{"name": "v", "value": "a b"}]}]"#;
    assert!(matches(exact, &Described::path("/?v=a%20b")));
    assert!(matches(exact, &Described::path("/?%76=a+b")));
    assert!(!matches(exact, &Described::path("/?v=a")));
    assert!(!matches(exact, &Described::path("/")));
    let expression = r#"[{"queryParams": [{"name": "v", "type": "RegularExpression", "value": "[0-9]*"}]}]"#;
    assert!(matches(expression, &Described::path("/?v=%31%32")));
    assert!(matches(expression, &Described::path("/?v")));
    assert!(!matches(expression, &Described::path("/?v=x1")));
}

#[test]
fn what_can_never_match_is_refused_with_its_place() {
    let told = |json: &str| -> Vec<String> {
        let list: Vec<RequestMatch> = serde_json::from_str(json).unwrap();
        problems(&list).iter().map(ToString::to_string).collect()
    };
    for (json, place) in [
        (r#"[{}, {"path": {"value": "orders"}}]"#, "[1].path.value: "),
        (r#"[{"path": {"value": "/a?b"}}]"#, "[0].path.value: "),
        (r#"[{"path": {"type": "RegularExpression", "value": "a)|(b"}}]"#, "[0].path.value: "),
        (r#"[{"path": {"type": "RegularExpression", "value": "(?:a{999}){999}"}}]"#, "[0].path.value: "),
        (r#"[{"method": "G T"}]"#, "[0].method: "),
        (r#"[{"headers": [{"name": "a b", "value": "x"}]}]"#, "[0].headers[0].name: "),
        (
            r#"[{"headers": [{"name": "a", "type": "RegularExpression", "value": "["}]}]"#,
            "[0].headers[0].value: ",
        ),
        (r#"[{"queryParams": [{"name": "", "value": "x"}]}]"#, "[0].queryParams[0].name: "),
    ] {
        let told = told(json);
        assert!(told.len() == 1 && told[0].starts_with(place), "{json}: {told:?}");
    }
    assert!(serde_json::from_str::<RequestMatch>(r#"{"grpc": {}}"#).is_err());
}

proptest! {
    #[test]
    fn a_prefix_covers_what_lies_below_it_and_nothing_else(prefix in "(/[a-c]{1,2}){1,3}", path in "(/[a-c]{0,2}){1,4}") {
        let json = format!(r#"{{"value": "{prefix}"}}"#);
        let elements = |path: &str| path.split('/').map(String::from).collect::<Vec<_>>();
        let expected = elements(&path).starts_with(&elements(&prefix));
        prop_assert_eq!(super::tests::path(&json, &path), expected);
    }

    #[test]
    fn any_bytes_are_survived(path in proptest::collection::vec(any::<u8>(), 0..60)) {
        let request = Described::path(&path);
        let json = r#"[{"path": {"type": "RegularExpression", "value": "/.*"}, "queryParams": [{"name": "a", "value": "b"}]}]"#;
        matches(json, &request);
    }
}
