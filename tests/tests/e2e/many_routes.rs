//! Many routes are a tree in Envoy, and few are a list: both lead the same way. And what a listener logs of each request.

use anyhow::{Result, ensure};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::site;
use crate::world::World;

/// `alpha` has everything; what is more specific goes to `beta`.
const FEW: &str = "\
- {name: rest, backendRefs: [{name: alpha}]}
- {name: prefix, matches: [{path: {value: /n1}}], backendRefs: [{name: beta}]}
- {name: exact, matches: [{path: {type: Exact, value: /n1/exact}}], backendRefs: [{name: alpha}]}
- {name: below, matches: [{path: {value: /n1/a/b}}], backendRefs: [{name: alpha}]}
- {name: header, matches: [{path: {value: /}, headers: [{name: x-env, value: canary}]}], backendRefs: [{name: beta}]}
";

/// The path, whether with the header, and who serves it.
const EXPECTED: [(&str, bool, &str); 12] = [
    ("/", false, "alpha"),
    ("/n1", false, "beta"),
    ("/n1/", false, "beta"),
    ("/n1?to=/n1/exact", false, "beta"),
    ("/n1/exact", false, "alpha"),
    ("/n1/exact?q", false, "alpha"),
    ("/n1/exact/x", false, "beta"),
    ("/n1x", false, "alpha"),
    ("/n1/a/b", false, "alpha"),
    ("/n1/a/bc", false, "beta"),
    ("/other", true, "beta"),
    ("/n1/a/b/c", true, "alpha"),
];

#[test]
fn many_routes_lead_where_few_lead() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", &site(FEW))])?;
        let all_lead = || {
            for (path, canary, upstream) in EXPECTED {
                let headers: &[_] = if canary { &[("x-env", "canary")] } else { &[] };
                let answer = world.get(path, headers)?;
                ensure!(answer.header("x-upstream") == Some(upstream), "{path}, {canary}: {answer:?}");
            }
            Ok(())
        };
        wait::until("few routes", all_lead)?;
        let rule = |n| {
            format!(
                "- {{name: n{n}, matches: [{{path: {{value: /n{n}}}}}], backendRefs: [{{name: beta}}]}}\n"
            )
        };
        let more = (10..40).map(rule).collect::<Vec<_>>().concat();
        world.documents.write("routes.yaml", &site(&format!("{FEW}{more}")))?;
        world.until("many routes", "/n39/x", |answer| answer.header("x-upstream") == Some("beta"))?;
        let dump = world.envoy.config_dump()?.to_string();
        ensure!(dump.contains("prefix_match_map"), "there is no tree to test");
        all_lead()
    })
}
