//! The route key and the headers that only Spillway may set.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Deserialize;
use spillway_tests::scene::Scene;

use crate::text::care;
use crate::world::{Headers, TO_ALPHA, World};

const KEYS: &str = r#"
routeKey:
- {template: "/orders/{tenant}/**", key: "{tenant}"}
- [{header: x-region}, {header: x-tenant-id}]
- {header: x-tenant-id}
- {query: tenant}"#;

#[derive(Deserialize)]
struct Echo {
    headers: BTreeMap<String, Vec<String>>,
}

#[test]
fn the_upstream_gets_the_key_and_nothing_that_a_client_forged() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(KEYS))])?;
        let forged = [
            ("x-route-key", "admin"),
            ("X-Route-Key", "root"),
            ("x-spillway-rejected-by", "me"),
            ("X-Spillway-Any", "x"),
        ];
        let cases: [(&str, Headers, Option<&str>); 6] = [
            ("/orders/acme/7?echo", &[], Some("acme")),
            ("/orders/acme/7?echo", &[("x-tenant-id", "other")], Some("acme")),
            ("/?echo", &[("x-tenant-id", "beta")], Some("beta")),
            ("/?echo", &[("x-region", "eu"), ("x-tenant-id", "beta")], Some("eu:beta")),
            ("/?echo", &[("x-region", "eu")], None),
            ("/?echo", &[], None),
        ];
        for (path, headers, expected) in cases {
            let headers: Vec<_> = forged.iter().chain(headers).copied().collect();
            let answer = world.get(path, &headers)?;
            ensure!(answer.status == 200, "{path} {headers:?}: {}", answer.status);
            let echo: Echo = answer.json()?;
            let key: Vec<_> =
                echo.headers.get("x-route-key").into_iter().flatten().map(String::as_str).collect();
            ensure!(
                key == Vec::from_iter(expected),
                "{path} {headers:?}: the key is {key:?}, expected {expected:?}"
            );
            let leaked: Vec<_> = echo.headers.keys().filter(|name| name.starts_with("x-spillway-")).collect();
            ensure!(leaked.is_empty(), "{leaked:?} came from the client");
        }
        Ok(())
    })
}

#[test]
fn no_key_becomes_a_header_of_its_own() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(KEYS))])?;
        // A query is decoded: what a header could never contain, a key may.
        for query in [
            "a%0d%0ax-admin:%20yes",
            "a%0ax-admin:%20yes",
            "a%0dx-admin:%20yes",
            "%00x-admin:yes",
            "a%0d%0a%0d%0aGET%20/evil",
        ] {
            let answer = world.get(&format!("/?echo&tenant={query}"), &[])?;
            ensure!(answer.status == 200, "{query}: {} {}", answer.status, answer.body);
            let echo: Echo = answer.json()?;
            let unexpected = |name: &&str| echo.headers.contains_key(*name);
            let made: Vec<_> = ["x-admin", "x-route-key"].into_iter().filter(unexpected).collect();
            ensure!(made.is_empty(), "{query} made the headers {made:?}");
        }
        Ok(())
    })
}
