//! Every source of a route key, as the upstream sees it, and keys of several parts.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::Value;
use spillway_tests::scene::Scene;

use crate::text::{TO_ALPHA, care};
use crate::world::{Headers, World};

/// The key that the upstream gets for a request.
fn key(world: &World, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<Option<String>> {
    let path = if path.contains('?') { format!("{path}&echo") } else { format!("{path}?echo") };
    let request = world.client.request(method, &world.url(&path));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = world.client.send(request)?;
    ensure!(answer.status == 200, "{path} was answered with {}", answer.status);
    let echo: Value = answer.json()?;
    Ok(echo.pointer("/headers/x-route-key/0").and_then(Value::as_str).map(str::to_owned))
}

#[test]
fn every_source_gives_a_key() -> Result<()> {
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    const SOURCES: &str = "\
routeKey:
  - {template: '/orders/{tenant}/{region}/**', key: '{region}-{tenant}'}
  - [{header: x-tenant}, {method: true}]
  - {query: tenant}
  - {cookie: tenant}
  - {grpc: {metadata: x-caller}}
  - [{grpc: service}, {grpc: method}]
  - {clientAddress: {prefix: 24}}
  - {value: anonymous}";
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(SOURCES))])?;
        let cases: [(&str, Headers, &str); 14] = [
            ("/orders/acme/eu/7", &[("x-tenant", "other")], "eu-acme"),
            ("/orders/acme/eu", &[], "eu-acme"),
            ("/orders/acme", &[("x-tenant", "beta")], "beta:POST"),
            ("/", &[("x-tenant", "a:b\\c")], "a\\:b\\\\c:POST"),
            ("/?tenant=a%20b%2Bc", &[("cookie", "tenant=d")], "a b+c"),
            ("/?x=y&tenant=first&tenant=second", &[], "first"),
            ("/", &[("cookie", "a=b; tenant=acme; tenant=other")], "acme"),
            ("/shop.Orders/Place", &[GRPC], "shop.Orders:Place"),
            ("/shop.Orders/Place", &[("content-type", "application/grpc+proto"), ("x-caller", "web")], "web"),
            // Not what it says, so not what it is.
            ("/shop.Orders/Place", &[("x-caller", "web")], "127.0.0.0/24"),
            ("/shop.Orders/Place", &[("content-type", "application/grpc-web")], "127.0.0.0/24"),
            ("/", &[("x-tenant", "")], "127.0.0.0/24"),
            ("/?tenant=", &[("cookie", "tenant=")], "127.0.0.0/24"),
            ("/", &[], "127.0.0.0/24"),
        ];
        for (path, headers, expected) in cases {
            let found = key(&world, Method::POST, path, headers)?;
            ensure!(found.as_deref() == Some(expected), "{path} {headers:?}: {found:?}, not {expected:?}");
        }

        // A constant is there for everybody who has nothing else.
        world.documents.edit(
            "policy.yaml",
            &["{clientAddress: {prefix: 24}}"],
            &["{header: x-nobody-sends}"],
        )?;
        world.until("the constant", "/?echo", |answer| answer.body.contains("anonymous"))?;
        // Long keys are hashed, not cut: what begins the same stays different.
        let long = |end: &str| format!("{}{end}", "k".repeat(300));
        let (one, other) = (long("a"), long("b"));
        let hashed =
            [one.as_str(), &other, &one].map(|tenant| key(&world, Method::GET, "/", &[("x-tenant", tenant)]));
        let [first, second, again] = hashed;
        let (first, second) = (first?.unwrap_or_default(), second?.unwrap_or_default());
        assert!(first.starts_with("sha256:") && first.len() == 7 + 64, "{first}");
        assert_ne!(first, second);
        assert_eq!(again?.as_deref(), Some(first.as_str()));
        Ok(())
    })
}

#[test]
fn a_rule_s_key_is_made_of_parts_and_a_missing_part_is_empty() -> Result<()> {
    const RULES: &str = "\
routeKey: [{header: x-tenant}]
rateLimits:
  - {name: parts, key: [routeKey, backend, {query: v}], rate: 1/h, burst: 1}";
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(RULES))])?;
        // The request that waited for Envoy had neither tenant nor query.
        let cases: [(&str, Headers, u16); 8] = [
            ("/", &[], 429),
            ("/?v=1", &[], 200),
            ("/?v=1", &[("x-tenant", "a")], 200),
            ("/?v=1", &[("x-tenant", "a")], 429),
            ("/?v=2", &[("x-tenant", "a")], 200),
            ("/", &[("x-tenant", "a")], 200),
            // Parts that are only joined differently are different keys.
            ("/?v=1", &[("x-tenant", "a:alpha")], 200),
            ("/?v=alpha:1", &[("x-tenant", "a")], 200),
        ];
        for (path, headers, expected) in cases {
            let status = world.get(path, headers)?.status;
            ensure!(status == expected, "{path} {headers:?} was answered with {status}, not {expected}");
        }
        Ok(())
    })
}
