//! What rules do with requests: matches, filters, retries, timeouts, and routes on the key.

use anyhow::{Result, ensure};
use serde_json::Value;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::listeners;
use crate::text::site;
use crate::world::{Headers, World};

mod paths;
mod websocket;

const MATCHED: &str = r"
    - {name: rest, backendRefs: [{name: alpha}]}
    - {name: like, matches: [{path: {type: RegularExpression, value: '/items/[0-9]+'}}], backendRefs: [{name: beta}]}
    - {name: long, matches: [{path: {type: RegularExpression, value: '/letters/[a-z]{120}'}}], backendRefs: [{name: beta}]}
    - {name: query, matches: [{path: {value: /q}, queryParams: [{name: v, value: '2'}]}], backendRefs: [{name: beta}]}
    - {name: header, matches: [{path: {value: /h}, headers: [{name: x-env, value: 'can.*', type: RegularExpression}]}], backendRefs: [{name: beta}]}
    - {name: call, matches: [{grpc: {service: shop.Orders, method: Place}}], backendRefs: [{name: beta}]}
    - {name: nowhere, matches: [{path: {value: /zero}}], backendRefs: [{name: alpha, weight: 0}]}
";

#[test]
fn requests_are_matched_by_everything_that_a_rule_asks() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", &site(MATCHED))])?;
        let letters = format!("/letters/{}", "x".repeat(120));
        let cases: [(&str, Headers, Result<&str, u16>); 16] = [
            ("/items/77", &[], Ok("beta")),
            ("/items/77?x=1", &[], Ok("beta")),
            ("/items/77a", &[], Ok("alpha")),
            ("/a/items/77", &[], Ok("alpha")),
            (&letters, &[], Ok("beta")),
            ("/q?v=2", &[], Ok("beta")),
            ("/q/deeper?a=b&v=2", &[], Ok("beta")),
            ("/q?v=22", &[], Ok("alpha")),
            ("/q", &[], Ok("alpha")),
            ("/h", &[("x-env", "canary")], Ok("beta")),
            ("/h", &[("x-env", "a canary")], Ok("alpha")),
            ("/shop.Orders/Place", &[("content-type", "application/grpc")], Ok("beta")),
            ("/shop.Orders/Place", &[], Ok("alpha")),
            ("/shop.Orders/Cancel", &[("content-type", "application/grpc")], Ok("alpha")),
            ("/zero", &[], Err(500)),
            // What an upstream might read as another path is refused.
            ("/items%2F77", &[], Err(400)),
        ];
        for (path, headers, expected) in cases {
            let answer = world.get(path, headers)?;
            let found = if answer.status == 200 {
                answer.header("x-upstream").ok_or(200)
            } else {
                Err(answer.status)
            };
            ensure!(found == expected, "{path} {headers:?}: {found:?}, expected {expected:?}");
        }
        Ok(())
    })
}

const FILTERED: &str = r"
    - name: headers
      matches: [{path: {value: /headers}}]
      filters:
        - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: 50%}], add: [{name: x-add, value: b}], remove: [x-gone]}}
        - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-answer, value: c}]}}
      backendRefs: [{name: alpha}]
    - name: prefix
      matches: [{path: {value: /foo}}]
      filters: [{type: URLRewrite, urlRewrite: {hostname: inner.example.com, path: {type: ReplacePrefixMatch, replacePrefixMatch: /xyz}}}]
      backendRefs: [{name: alpha}]
    - name: cut
      matches: [{path: {value: /cut}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
      backendRefs: [{name: alpha}]
    - name: whole
      matches: [{path: {value: /whole}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /other}}}]
      backendRefs: [{name: alpha}]
    - name: moved
      matches: [{path: {value: /moved}}]
      filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: new.example.com, statusCode: 308, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    - name: copied
      matches: [{path: {value: /copied}}]
      filters: [{type: RequestMirror, requestMirror: {backendRef: {name: beta}}}]
      backendRefs: [{name: alpha}]
";

#[test]
fn filters_change_what_backends_and_clients_see() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", &site(FILTERED))])?;
        let echo = |path: &str, headers: &[(&str, &str)]| -> Result<Value> {
            let answer = world.get(&format!("{path}?echo"), headers)?;
            ensure!(answer.status == 200, "{path}: {}", answer.status);
            answer.json()
        };
        let seen = echo("/headers", &[("x-set", "a"), ("x-add", "a"), ("x-gone", "a")])?;
        ensure!(seen["headers"]["x-set"] == serde_json::json!(["50%"]), "{seen}");
        ensure!(seen["headers"]["x-add"] == serde_json::json!(["a", "b"]), "{seen}");
        ensure!(seen["headers"].get("x-gone").is_none(), "{seen}");
        ensure!(world.get("/headers", &[])?.header("x-answer") == Some("c"));

        for (path, expected) in [
            ("/foo", "/xyz"),
            ("/foo/", "/xyz/"),
            ("/foo/bar", "/xyz/bar"),
            ("/cut", "/"),
            ("/cut/", "/"),
            ("/cut/bar/", "/bar/"),
            ("/whole/a/b", "/other"),
        ] {
            let seen = echo(path, &[])?;
            let found = seen["path"].as_str().unwrap_or_default();
            ensure!(found.split('?').next() == Some(expected), "{path}: {seen}, expected {expected}");
        }
        ensure!(echo("/foo", &[])?["headers"]["host"] == serde_json::json!(["inner.example.com"]));

        let answer = listeners::ask(&world.web, "", "/moved/a?b=c", "")?;
        ensure!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        ensure!(answer.contains("location: https://new.example.com/a?b=c\r\n"), "{answer}");

        let before = world.upstreams.requests("beta")?;
        for _ in 0..10 {
            ensure!(world.get("/copied", &[])?.header("x-upstream") == Some("alpha"));
        }
        wait::until("the copies", || {
            let copies = world.upstreams.requests("beta")? - before;
            ensure!(copies == 10, "{copies} copies of 10");
            Ok(())
        })
    })
}

const TRIED: &str = r"
    - name: again
      matches: [{path: {value: /again}}]
      retry: {attempts: 3, codes: [503], backoff: 1ms, budget: 100%}
      backendRefs: [{name: beta}]
    - {name: once, matches: [{path: {value: /once}}], backendRefs: [{name: beta}]}
    - {name: request, matches: [{path: {value: /request}}], timeouts: {request: 300ms}, backendRefs: [{name: beta}]}
    - {name: attempt, matches: [{path: {value: /attempt}}], timeouts: {backendRequest: 300ms}, backendRefs: [{name: beta}]}
    - {name: life, matches: [{path: {value: /life}}], timeouts: {lifetime: 300ms}, backendRefs: [{name: beta}]}
    - {name: idle, matches: [{path: {value: /idle}}], timeouts: {idle: 300ms}, backendRefs: [{name: beta}]}
";

#[test]
fn attempts_and_times_are_bounded_by_the_rule() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", &site(TRIED))])?;
        world.upstreams.answer_with("beta", 503)?;
        for (path, attempts) in [("/again", 4), ("/once", 1)] {
            let before = world.upstreams.requests("beta")?;
            let answer = world.get(path, &[])?;
            ensure!(answer.status == 503, "{path}: {}", answer.status);
            let made = world.upstreams.requests("beta")? - before;
            ensure!(made == attempts, "{path}: {made} attempts of {attempts}");
        }
        world.upstreams.answer_slowly("beta", 200, 3_000)?;
        for path in ["/request", "/attempt", "/idle"] {
            let answer = world.get(path, &[])?;
            ensure!(answer.status == 504 || answer.status == 408, "{path}: {}", answer.status);
        }
        ensure!(world.get("/life", &[])?.status != 200);
        ensure!(world.get("/once", &[])?.status == 200, "nothing bounds what no rule bounds");
        Ok(())
    })
}

const KEYED: &str = r"
    - {name: rest, backendRefs: [{name: alpha}]}
    - {name: vip, matches: [{routeKey: {value: vip}}], backendRefs: [{name: beta}]}
";

/// The first says what the key is, the second limits one of the routes that are chosen by it.
const BY_KEY: &str = "\
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: tenants}
spec:
  targetRefs: [{kind: Gateway, name: edge}]
  routeKey: [{header: x-tenant}]
---
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: vips}
spec:
  targetRefs: [{kind: Route, name: site, sectionName: vip}]
  rateLimits: [{name: few, rate: 1/h, burst: 3}]
";

#[test]
fn a_route_is_chosen_by_the_key_and_its_policies_know_it() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", &site(KEYED)), ("policies.yaml", BY_KEY)])?;
        let served = |tenant: &str| -> Result<(u16, Option<String>)> {
            let answer = world.get("/?echo", &[("x-tenant", tenant), ("x-route-key", "vip")])?;
            Ok((answer.status, answer.header("x-upstream").map(str::to_owned)))
        };
        for _ in 0..5 {
            let other = served("other")?;
            ensure!(other == (200, Some("alpha".into())), "{other:?}");
        }
        let vips: Vec<_> = (0..5).map(|_| served("vip")).collect::<Result<_>>()?;
        let expected = |status, name: Option<&str>| (status, name.map(str::to_owned));
        let (admitted, rejected) = (expected(200, Some("beta")), expected(429, None));
        ensure!(vips[..3].iter().all(|one| *one == admitted), "{vips:?}");
        ensure!(vips[3..].iter().all(|one| *one == rejected), "the policy of the chosen route: {vips:?}");
        Ok(())
    })
}
