//! What is matched and limited is what the upstream reads; what could be read in two ways is refused.

use anyhow::{Result, ensure};
use spillway_tests::scene::Scene;

use crate::listeners;
use crate::text::{care, site};
use crate::world::World;

const RULES: &str = "\
- {name: rest, backendRefs: [{name: alpha}]}
- {name: admin, matches: [{path: {value: /admin}}], backendRefs: [{name: beta}]}";

/// Nobody gets into `/admin`, under whatever name.
const CLOSED: &str = "rateLimits: [{name: closed, when: [{path: {value: /admin}}], rate: 1/h, burst: 1}]";

#[test]
fn a_path_is_matched_and_limited_as_the_upstream_reads_it() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", &site(RULES))])?;
        let ask = |path: &str, headers: &str| listeners::ask(&world.web, "", path, headers);
        let upper = ["/admin", "/x/../admin", "//admin", "/./admin/", "/%61dmin", "/\\admin"];
        for path in upper {
            let answer = ask(path, "")?;
            ensure!(answer.contains("x-upstream: beta"), "{path}: {answer}");
        }
        // In the last one `..` takes away the empty element, as RFC 3986 has it.
        for path in ["/admins", "/x/admin", "/ADMIN", "/admin/../x", "/a//../admin"] {
            let answer = ask(path, "")?;
            ensure!(answer.contains("x-upstream: alpha"), "{path}: {answer}");
        }
        for path in ["/x%2Fadmin", "/x%2f..%2fadmin", "/admin%5Cx", "/x%5c..%5cadmin"] {
            let answer = ask(path, "")?;
            ensure!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        }
        let answer = ask("/", "x_route_key: vip\r\n")?;
        ensure!(answer.starts_with("HTTP/1.1 400"), "{answer}");

        world.documents.write("care.yaml", &care(CLOSED))?;
        world.until("the limit", "/admin", |answer| answer.status == 429)?;
        for path in upper {
            let answer = ask(path, "")?;
            ensure!(answer.starts_with("HTTP/1.1 429"), "{path}: {answer}");
        }
        Ok(())
    })
}
