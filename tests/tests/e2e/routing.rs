//! Which request goes where.

use anyhow::{Result, ensure};
use reqwest::Method;
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;

use crate::text::{document, site};
use crate::world::{Headers, World};

const WEIGHTED: &str = "- {name: all, backendRefs: [{name: alpha, weight: 70}, {name: beta, weight: 30}]}";

#[test]
fn weights_are_observed() -> Result<()> {
    const REQUESTS: usize = 4_000;
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", &site(WEIGHTED))])?;
        let report = Load::get(world.url("/")).requests(REQUESTS).run(&world.client)?;
        assert_eq!(report.other_than(&[200]), [].into());
        let (alpha, beta) = (report.served_by("alpha"), report.served_by("beta"));
        assert_eq!(alpha + beta, REQUESTS);
        // Binomial, sigma = sqrt(4000 * 0.7 * 0.3) = 29. Seven sigma: once in 10^11 runs by chance; 65/35 would be 200 off.
        assert!(alpha.abs_diff(2_800) <= 203, "alpha served {alpha} of {REQUESTS}");
        Ok(())
    })
}

const MATCHED: &str = "\
- {name: prefix, matches: [{path: {type: PathPrefix, value: /orders}}], backendRefs: [{name: alpha}]}
- {name: exact, matches: [{path: {type: Exact, value: /orders/exact}}], backendRefs: [{name: beta}]}
- {name: method, matches: [{path: {type: PathPrefix, value: /orders}, method: DELETE}], backendRefs: [{name: beta}]}
- {name: header, matches: [{path: {type: PathPrefix, value: /orders}, headers: [{name: X-Env, value: canary}]}], backendRefs: [{name: beta}]}
";

const SHOP: &str = "\
parentRefs: [{name: edge}]
hostnames: [shop.example.com]
rules: [{name: all, backendRefs: [{name: beta}]}]
";

#[test]
fn requests_go_where_the_most_specific_match_leads() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(
            scene,
            &[("site.yaml", &site(MATCHED)), ("shop.yaml", &document("Route", "shop", SHOP))],
        )?;
        let cases: [(Method, &str, Headers, Result<&str, u16>); 12] = [
            (Method::GET, "/orders", &[], Ok("alpha")),
            (Method::GET, "/orders/7", &[], Ok("alpha")),
            (Method::GET, "/orders?exact", &[], Ok("alpha")),
            (Method::GET, "/orders/exact", &[], Ok("beta")),
            (Method::GET, "/orders/exact?q=1", &[], Ok("beta")),
            (Method::GET, "/orders/exact/more", &[], Ok("alpha")),
            (Method::DELETE, "/orders/7", &[], Ok("beta")),
            (Method::GET, "/orders/7", &[("x-env", "canary")], Ok("beta")),
            (Method::GET, "/orders/7", &[("x-env", "canary2")], Ok("alpha")),
            // A prefix is one of path elements, not of characters.
            (Method::GET, "/ordersx", &[], Err(404)),
            (Method::GET, "/", &[], Err(404)),
            (Method::GET, "/anything", &[("host", "shop.example.com")], Ok("beta")),
        ];
        for (method, path, headers, expected) in cases {
            let mut request = world.client.request(method.clone(), &world.url(path));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = world.client.send(request)?;
            let found = if answer.status == 200 {
                answer.header("x-upstream").ok_or(200)
            } else {
                Err(answer.status)
            };
            ensure!(found == expected, "{method} {path} {headers:?}: {found:?}, expected {expected:?}");
        }
        Ok(())
    })
}
