//! What Backends promise: which endpoint answers, and what becomes of a request when none can.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::client::Client;
use spillway_tests::envoy::Envoy;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;
use spillway_tests::wait;

use crate::text::{document, site};
use crate::world::World;

mod affinity;
mod bad_ends;
mod balancing;
mod bounds;
mod checks;
mod connections;
mod constant_load;
mod dns;
mod draining;
mod fleet;
mod slow_start;
mod sticky;

/// A world with more upstreams, which are the endpoints of the Backend `pool`.
struct Pool {
    world: World,
    upstreams: Upstreams,
}

impl Pool {
    /// Starts everything: `rule` is the rest of the one rule, which leads to `pool`, and `backend` of `pool`'s spec; of `names` the first so many are its endpoints.
    fn start(scene: &Scene, names: &[&str], rule: &str, backend: &str) -> Result<Self> {
        Self::start_with(scene, names, rule, backend, &[])
    }

    /// The same with more flags for the Envoy's bootstrap.
    fn start_with(scene: &Scene, names: &[&str], rule: &str, backend: &str, flags: &[&str]) -> Result<Self> {
        let client = Client::new()?;
        let upstreams = Upstreams::start_logging(&scene.log("pool"), &client, names)?;
        let endpoints =
            names.iter().map(|name| endpoint(&upstreams, name, "")).collect::<Result<Vec<_>>>()?;
        let text = pool(&endpoints, backend);
        let world = World::start_with(scene, &[("route.yaml", &route(rule)), ("pool.yaml", &text)], flags)?;
        Ok(Self { world, upstreams })
    }

    /// Starts a second Envoy, of a fleet of its own, which the same rule serves; with more flags for its bootstrap.
    fn second(&self, scene: &Scene, rule: &str, flags: &[&str]) -> Result<Second> {
        let world = &self.world;
        let (web, admin) = (Port::free()?, Port::free()?);
        let gateway = format!(
            "fleet: second\nlisteners: [{{name: web, address: 127.0.0.1, port: {}, protocol: HTTP}}]",
            web.number()
        );
        world.documents.write("second.yaml", &document("Gateway", "second", &gateway))?;
        world.documents.write("route.yaml", &both(&route(rule)))?;
        let bootstrap = scene.folder().join("second.yaml");
        world.control_plane.bootstrap("second", &admin, &bootstrap, flags)?;
        let envoy = Envoy::start(&world.client, &bootstrap, &admin, 2, &scene.log("second"))?;
        let url = format!("http://{}/", web.address());
        Ok(Second { url, client: world.client.clone(), _envoy: envoy, _ports: [web, admin] })
    }

    /// Gives `pool` these endpoints, each with the rest of its fields.
    fn set(&self, endpoints: &[(&str, &str)], backend: &str) -> Result<()> {
        let endpoints = endpoints.iter().map(|(name, rest)| endpoint(&self.upstreams, name, rest));
        let endpoints = endpoints.collect::<Result<Vec<_>>>()?;
        self.world.documents.write("pool.yaml", &pool(&endpoints, backend))
    }

    /// Who answers this user.
    fn answers(&self, user: &str) -> Result<String> {
        let answer = self.world.get("/", &[("x-user", user)])?;
        Ok(answer.header("x-upstream").with_context(|| format!("{answer:?}"))?.to_owned())
    }
}

/// A second Envoy.
struct Second {
    url: String,
    client: Client,
    _envoy: Envoy,
    _ports: [Port; 2],
}

impl Second {
    /// Who answers this user.
    fn answers(&self, user: &str) -> Result<String> {
        let answer = self.client.get(&self.url, &[("x-user", user)])?;
        Ok(answer.header("x-upstream").with_context(|| format!("{answer:?}"))?.to_owned())
    }
}

/// So many that none of a few endpoints is without one.
const USERS: usize = 60;

/// Waits until these answer many users, and nobody else does, twice in a row.
fn served_by(expected: &[&str], answers: &dyn Fn(&str) -> Result<String>) -> Result<()> {
    wait::until(&format!("answers of {expected:?}"), || {
        for _ in 0..2 {
            let seen = (0..USERS).map(|n| answers(&format!("user-{n}"))).collect::<Result<BTreeSet<_>>>()?;
            ensure!(seen == expected.iter().copied().map(str::to_owned).collect(), "{seen:?}");
        }
        Ok(())
    })
}

fn endpoint(upstreams: &Upstreams, name: &str, rest: &str) -> Result<String> {
    Ok(format!("{{address: 127.0.0.1, port: {}{rest}}}", upstreams.port(name)?))
}

fn pool(endpoints: &[String], backend: &str) -> String {
    document("Backend", "pool", &format!("{{endpoints: [{}]{backend}}}", endpoints.join(", ")))
}

fn route(rule: &str) -> String {
    site(&format!("- {{name: all, backendRefs: [{{name: pool}}]{rule}}}"))
}

/// The same Route for both Gateways.
fn both(route: &str) -> String {
    route.replace("parentRefs: [{name: edge}]", "parentRefs: [{name: edge}, {name: second}]")
}
