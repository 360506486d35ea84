//! What Backends promise: which endpoint answers, and what becomes of a request when none can.

use anyhow::{Context as _, Result};
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;

use crate::text::{document, site};
use crate::world::World;

mod affinity;
mod bad_ends;
mod balancing;
mod bounds;
mod checks;
mod dns;
mod fleet;
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
        let client = spillway_tests::client::Client::new()?;
        let upstreams = Upstreams::start_logging(&scene.log("pool"), &client, names)?;
        let endpoints =
            names.iter().map(|name| endpoint(&upstreams, name, "")).collect::<Result<Vec<_>>>()?;
        let text = pool(&endpoints, backend);
        let world = World::start_with(scene, &[("route.yaml", &route(rule)), ("pool.yaml", &text)], flags)?;
        Ok(Self { world, upstreams })
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

fn endpoint(upstreams: &Upstreams, name: &str, rest: &str) -> Result<String> {
    Ok(format!("{{address: 127.0.0.1, port: {}{rest}}}", upstreams.port(name)?))
}

fn pool(endpoints: &[String], backend: &str) -> String {
    document("Backend", "pool", &format!("{{endpoints: [{}]{backend}}}", endpoints.join(", ")))
}

fn route(rule: &str) -> String {
    site(&format!("- {{name: all, backendRefs: [{{name: pool}}]{rule}}}"))
}
