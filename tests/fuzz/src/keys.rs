//! What makes keys and costs: paths and their templates, headers, cookies, query strings.

use serde_json::json;

use crate::asking::{Asking, ask, engine};
use spillway_policy::config::Configuration;
use spillway_policy::engine::Engine;

/// A template, what to make of it, and paths, each in a line of its own.
pub(crate) fn path_templates(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut text = || Some(std::str::from_utf8(lines.next()?).ok()?.to_owned());
    let (Some(template), Some(key)) = (text(), text()) else { return };
    let json = json!({"policies": [{"name": "p", "routeKey": [{"template": template, "key": key}, {"template": "/a/{b}/**", "key": "{b}"}]}]});
    let Ok(configuration) = Configuration::parse(json.to_string().as_bytes()) else { return };
    let problems = configuration.problems();
    let Ok(mut engine) = Engine::new(configuration) else {
        assert!(!problems.is_empty());
        return;
    };
    for path in lines {
        let found = ask(&mut engine, &Asking { path: Some(path), ..Asking::default() });
        // What is behind the question mark is no part of the path.
        let longer = [path, b"?b=/c/d"].concat();
        let again = ask(&mut engine, &Asking { path: Some(&longer), ..Asking::default() });
        assert_eq!(found, again, "{}", String::from_utf8_lossy(path));
    }
}

/// Everything that reads a header: keys, costs, conditions, levels, content types, addresses. The first byte says which header it is.
pub(crate) fn header_values(bytes: &[u8]) {
    const NAMES: [&str; 8] =
        ["x-tenant", "x-cost", "x-level", ":method", "content-type", "x-caller", "x-forwarded-for", "cookie"];
    let Some((first, value)) = bytes.split_first() else { return };
    let mut engine = engine(
        r#"{"policies": [{"name": "p",
        "routeKey": [[{"header": "x-tenant"}, {"method": true}], {"grpc": {"metadata": "x-caller"}}, {"grpc": "service"}, {"cookie": "a"},
            {"clientAddress": {"prefix": 20}}, {"sni": true}],
        "rateLimits": [{"name": "l", "key": ["routeKey", {"header": "x-forwarded-for"}], "rate": "100/s", "cost": {"header": "x-cost", "default": 3, "min": 2, "max": 50},
            "rateLimitHeaders": true, "overrides": [{"key": "a:b", "unlimited": true}, {"key": "c", "rate": "1/h"}],
            "when": [{"headers": [{"name": "x-tenant", "value": "(a|b)*c?", "type": "RegularExpression"}]}, {"method": "POST"}, {"path": {"value": "/"}}]}],
        "concurrency": [{"name": "c", "key": [{"header": "x-tenant"}], "max": 3}],
        "priority": {"from": [{"header": "x-level"}], "default": "low", "levels": ["high", "low"]},
        "degrade": [{"name": "d", "when": {"saturation": "50%"}, "shed": ["low"], "admit": "33%"}]}]}"#,
    );
    let name = NAMES.get(usize::from(*first) % NAMES.len()).copied().unwrap_or("x-tenant");
    let headers = [(name, value), ("content-type", &b"application/grpc+proto"[..])];
    let (one, both) = (headers.get(..1).unwrap_or_default(), &headers[..]);
    for headers in [one, both] {
        ask(&mut engine, &Asking { headers, path: Some(b"/shop.Orders/Place"), client: None });
    }
    ask(&mut engine, &Asking { headers: one, path: Some(value), client: Some(value) });
}

/// A whole `cookie` header. The value that is found stands in it, behind its name.
pub(crate) fn cookies(bytes: &[u8]) {
    let mut engine = engine(r#"{"policies": [{"name": "p", "routeKey": [{"cookie": "sid"}]}]}"#);
    let headers = [("cookie", bytes)];
    let found = ask(&mut engine, &Asking { headers: &headers, ..Asking::default() });
    let Some(found) = found.filter(|found| !found.starts_with(b"sha256:")) else { return };
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(contains(&found) && contains(b"sid"), "{found:?}");
    assert!(!found.contains(&b';'), "{found:?}");
}

/// A whole `:path`. The value that is found is what a plain reading of the query finds.
pub(crate) fn query_strings(bytes: &[u8]) {
    let mut engine = engine(
        r#"{"policies": [{"name": "p", "routeKey": [{"query": "t"}],
        "rateLimits": [{"name": "l", "rate": "1/s", "when": [{"queryParams": [{"name": "t", "value": "v"}, {"name": "r", "value": "[a-z]+", "type": "RegularExpression"}]}]}]}]}"#,
    );
    let found = ask(&mut engine, &Asking { path: Some(bytes), ..Asking::default() });
    let expected = plain_reading(bytes);
    if expected.len() > 256 {
        assert!(found.is_some_and(|found| found.starts_with(b"sha256:")));
    } else {
        assert_eq!(found.unwrap_or_default(), expected);
    }
}

/// The first `t` of the query, decoded as forms are: `+` is a space.
fn plain_reading(path: &[u8]) -> Vec<u8> {
    let path = path.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mut parts = path.splitn(2, |byte| *byte == b'?');
    let query = parts.nth(1).unwrap_or_default();
    let named = query.split(|byte| *byte == b'&').find_map(|pair| {
        let mut sides = pair.splitn(2, |byte| *byte == b'=');
        let name = decoded(sides.next().unwrap_or_default());
        (name == b"t").then(|| decoded(sides.next().unwrap_or_default()))
    });
    named.unwrap_or_default()
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) if *byte == b'%' => {
                plain.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                plain.push(if *byte == b'+' { b' ' } else { *byte });
                rest = after;
            }
        }
    }
    plain
}
