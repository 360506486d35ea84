//! `spillway explain` says what Envoy does.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spillway_tests::control_plane;
use spillway_tests::scene::Scene;

use crate::text::{care, document, site};
use crate::world::World;

#[test]
fn an_explanation_says_what_envoy_does_with_the_request() -> Result<()> {
    Scene::play(|scene| {
        let route = site(
            "- {name: orders, matches: [{path: {value: /orders}}], backendRefs: [{name: beta}]}\n\
             - {name: all, backendRefs: [{name: alpha}]}",
        );
        let policy = care(
            "routeKey: [{template: '/orders/{tenant}/**', key: '{tenant}'}, [{header: x-user}, {method: true}]]\n\
             rateLimits:\n\
             \x20 - {name: tenant, key: [routeKey], rate: 1/h, burst: 1, overrides: [{key: probe, unlimited: true}]}\n\
             \x20 - {name: posts, rate: 1/h, when: [{method: POST}]}\n\
             circuitBreakers: [{name: health, key: [backend], window: 10s, minRequests: 20, trip: {errorRatio: 50%}, openFor: 1h, probes: 1}]\n\
             concurrency: [{name: pool, max: 100}]",
        );
        let everybody = document(
            "TrafficPolicy",
            "everybody",
            "targetRefs: [{kind: Gateway, name: edge}]\nrateLimits: [{name: total, rate: 1000000/s, mode: shadow}]",
        );
        let files = [("routes.yaml", &*route), ("policy.yaml", &policy), ("everybody.yaml", &everybody)];
        let world = World::start(scene, &files)?;
        let folder = world.documents.folder().to_str().context("a path that is not UTF-8")?;
        let explain = |path: &str, user: Option<&str>| -> Result<Value> {
            let request = format!("GET {}", world.url(path));
            let header = user.map(|user| format!("x-user: {user}"));
            let mut arguments = vec!["explain", "--config", folder, "--fleet", "edge", "-o", "json"];
            arguments.extend(["--request", &request]);
            arguments.extend(header.iter().flat_map(|header| ["-H", header]));
            let output = control_plane::run(&arguments)?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let all: Value = serde_json::from_slice(&output.stdout)?;
            all.get(0).cloned().context("no explanation")
        };
        let cases = [
            ("/orders/acme/7", None, "site/orders", Some("acme"), "beta"),
            ("/orders/probe", Some("ann"), "site/orders", Some("probe"), "beta"),
            ("/other", Some("ann"), "site/all", Some("ann:GET"), "alpha"),
            ("/", None, "site/all", None, "alpha"),
        ];
        for (path, user, route, key, backend) in cases {
            let explanation = explain(path, user)?;
            let at = |pointer: &str| explanation.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(at("/route/name"), route, "{path}");
            assert_eq!(at("/routeKey/value"), json!(key), "{path}");
            assert_eq!(at("/outcome"), json!({"result": "admitted", "backend": backend}), "{path}");
            let rules = at("/rules");
            let rules: Vec<_> = rules.as_array().into_iter().flatten().collect();
            let names: Vec<_> =
                rules.iter().map(|rule| format!("{}/{}", rule["policy"], rule["rule"])).collect();
            let order = ["care/health", "care/pool", "care/tenant", "care/posts", "everybody/total"];
            let order = order.map(|name| format!("\"{}\"", name.replace('/', "\"/\"")));
            assert_eq!(names, order, "{path}: breakers, concurrency, limits");
            assert_eq!(
                rules.iter().find(|rule| rule["rule"] == "health").map(|rule| &rule["key"]),
                Some(&json!(backend))
            );
            assert!(rules.iter().all(|rule| rule["passes"] == true), "{path}: {rules:?}");

            // And so does Envoy.
            let headers: Vec<_> = user.iter().map(|user| ("x-user", *user)).collect();
            let answer = world.get(&format!("{path}?echo"), &headers)?;
            // Whoever waited for Envoy had no key, and took the token of those who have none.
            if key.is_some() {
                ensure!(answer.status == 200, "{path}: {}", answer.status);
                assert_eq!(answer.header("x-upstream"), Some(backend), "{path}");
                let echo: Value = answer.json()?;
                assert_eq!(
                    echo.pointer("/headers/x-route-key/0"),
                    key.map(|key| json!(key)).as_ref(),
                    "{path}"
                );
            }
            let again = world.get(path, &headers)?;
            let is_limited = again.header("x-spillway-rejected-by") == Some("rate-limit/care/tenant");
            assert_eq!(is_limited, key != Some("probe"), "{path}: {}", again.status);
            assert_eq!(explain(path, user)?, explanation, "the documents are asked, not the proxy");
        }
        Ok(())
    })
}
