use envoy_types::pb::envoy::config::route::v3::{Route, route::Action};

use super::*;
use crate::resource::route::tests::{routes, routes_on};

/// The route of a rule with one filter, for a prefix.
fn filtered(filter: &str, prefix: &str, refs: &str) -> Route {
    let spec = format!(
        "rules: [{{name: api, matches: [{{path: {{value: {prefix}}}}}], filters: [{filter}]{refs}}}]"
    );
    routes(&[&spec]).virtual_hosts[0].routes[0].clone()
}

fn sent(filter: &str, prefix: &str) -> RouteAction {
    match filtered(filter, prefix, ", backendRefs: [{name: a}]").action {
        Some(Action::Route(action)) => action,
        other => panic!("{other:?}"),
    }
}

#[test]
fn headers_are_set_added_and_removed() {
    let route = filtered(
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: '100%'}], add: [{name: x-b, value: b}], remove: [x-c]}}, \
         {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [server]}}",
        "/a",
        ", backendRefs: [{name: a}]",
    );
    let added: Vec<_> = route
        .request_headers_to_add
        .iter()
        .map(|one| {
            let header = one.header.as_ref().unwrap();
            (header.key.as_str(), header.value.as_str(), one.append_action())
        })
        .collect();
    assert_eq!(
        added,
        [
            ("X-A", "100%%", HeaderAppendAction::OverwriteIfExistsOrAdd),
            ("x-b", "b", HeaderAppendAction::AppendIfExistsOrAdd)
        ]
    );
    assert_eq!(route.request_headers_to_remove, ["x-c"]);
    assert_eq!(route.response_headers_to_remove, ["server"]);
    assert!(route.response_headers_to_add.is_empty());
}

#[test]
fn a_prefix_is_replaced_by_path_element() {
    let rewrite = |prefix: &str, replacement: &str| {
        let filter = format!(
            "{{type: URLRewrite, urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: '{replacement}'}}}}}}"
        );
        let action = sent(&filter, prefix);
        let substitution = action.regex_rewrite.map(|one| (one.pattern.unwrap().regex, one.substitution));
        (action.prefix_rewrite, substitution)
    };
    for prefix in ["/foo", "/foo/"] {
        for replacement in ["/xyz", "/xyz/"] {
            assert_eq!(rewrite(prefix, replacement), ("/xyz".into(), None));
        }
        for replacement in ["", "/"] {
            let expected = Some(("^/foo/*".to_owned(), "/".to_owned()));
            assert_eq!(rewrite(prefix, replacement), (String::new(), expected));
        }
    }
    assert_eq!(rewrite("/", "/xyz"), ("/xyz/".into(), None));
    assert_eq!(rewrite("/", ""), ("/".into(), None));
    assert_eq!(rewrite("/a.b", "").1.unwrap().0, r"^/a\.b/*");
}

#[test]
fn a_path_and_a_host_are_replaced_whole() {
    let action = sent(
        r"{type: URLRewrite, urlRewrite: {hostname: b.example.com, path: {type: ReplaceFullPath, replaceFullPath: '/a\1'}}}",
        "/x",
    );
    let substitution = action.regex_rewrite.unwrap();
    assert_eq!(substitution.substitution, r"/a\\1");
    let host = HostRewriteSpecifier::HostRewriteLiteral("b.example.com".into());
    assert_eq!(action.host_rewrite_specifier, Some(host));
}

#[test]
fn copies_go_to_as_many_as_asked() {
    let share = |rest: &str| {
        let filter = format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: b}}{rest}}}}}");
        let mirror = sent(&filter, "/").request_mirror_policies.remove(0);
        assert_eq!(mirror.cluster, "b");
        mirror.runtime_fraction.map(|share| {
            let share = share.default_value.unwrap();
            (share.numerator, share.denominator())
        })
    };
    assert_eq!(share(""), None);
    assert_eq!(share(", percent: 5"), Some((5, DenominatorType::Hundred)));
    assert_eq!(
        share(", fraction: {numerator: 1, denominator: 200}"),
        Some((50, DenominatorType::TenThousand))
    );
    assert_eq!(share(", fraction: {numerator: 7}"), Some((7, DenominatorType::Hundred)));
}

/// The port that a redirect of a listener on `port` names.
fn named_port(port: u16, redirect: &str) -> u32 {
    let spec = format!(
        "rules: [{{name: api, filters: [{{type: RequestRedirect, requestRedirect: {{{redirect}}}}}]}}]"
    );
    match routes_on(port, &[&spec]).virtual_hosts[0].routes[0].action.clone() {
        Some(Action::Redirect(redirect)) => redirect.port_redirect,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_redirect_names_the_port_that_it_leads_to() {
    for (port, redirect, expected) in [
        (8080, "scheme: https", 443),
        (80, "scheme: https", 0),
        (8080, "scheme: https, hostname: b.com", 0),
        (8080, "scheme: https, port: 8443", 8443),
        (8080, "scheme: https, hostname: b.com, port: 443", 0),
        (8080, "hostname: b.com", 8080),
        (80, "hostname: b.com", 0),
        (8080, "path: {type: ReplaceFullPath, replaceFullPath: /b}", 0),
        (8080, "port: 80", 80),
    ] {
        assert_eq!(named_port(port, redirect), expected, "{port} {redirect}");
    }
}

#[test]
fn a_redirect_is_302_unless_said_otherwise() {
    let code = |rest: &str| {
        let filter = format!("{{type: RequestRedirect, requestRedirect: {{hostname: b.com{rest}}}}}");
        match filtered(&filter, "/a", "").action {
            Some(Action::Redirect(redirect)) => redirect.response_code(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code(""), RedirectResponseCode::Found);
    assert_eq!(code(", statusCode: 301"), RedirectResponseCode::MovedPermanently);
    assert_eq!(code(", statusCode: 308"), RedirectResponseCode::PermanentRedirect);
}
