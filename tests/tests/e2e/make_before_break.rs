//! What replaces something is there before what it replaces goes, and nobody is told of what is none of their business.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use spillway_tests::scene::Scene;
use spillway_tests::wait;
use spillway_tests::xds_client::message::{DELTA, DeltaRequest, DeltaResponse, type_url};
use spillway_tests::xds_client::{Connection, Event, Follower};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::stage::{Services, Stage, Variant};

/// Long enough for a push that should not come to come.
const SILENCE: Duration = Duration::from_millis(700);

#[test]
fn moving_all_traffic_to_a_new_cluster_and_deleting_the_old_one_loses_no_request() -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge", "state"])?;
        let envoys = [
            stage.envoy("one", "edge", (Variant::Delta, Services::Aggregated), None)?,
            stage.envoy("two", "state", (Variant::State, Services::Aggregated), None)?,
        ];
        let loads =
            envoys.iter().map(|envoy| envoy.load().start(&stage.client)).collect::<Result<Vec<_>>>()?;
        for number in 0..10 {
            let upstream = if number % 2 == 0 { "beta" } else { "alpha" };
            let old = if number == 0 { "alpha".to_owned() } else { format!("backend-{}", number - 1) };
            stage.send_to(&format!("backend-{number}"), upstream)?;
            for envoy in &envoys {
                envoy.serves(upstream)?;
                wait::until("the end of the old cluster", || {
                    ensure!(!envoy.has_cluster(&old)?, "{old} is still there");
                    Ok(())
                })?;
            }
        }
        for load in loads {
            load.unharmed()?;
        }
        Ok(())
    })
}

/// A client that says what it is told to say.
struct Raw {
    runtime: Runtime,
    connection: Connection,
    stream: u32,
    follower: Follower,
}

impl Raw {
    /// Connects and gets everything that the fleet has.
    fn connect(stage: &Stage, node: &str, fleet: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut connection = runtime.block_on(Connection::open(stage.control_plane.xds(), None))?;
        let stream = connection.call(DELTA, &[]);
        let mut raw = Self { runtime, connection, stream, follower: Follower::new(node, fleet) };
        let requests = raw.follower.open();
        raw.say(&requests)?;
        while !raw.follower.is_complete() {
            let response = raw.hear(wait::PATIENCE)?.context("not everything came")?;
            raw.answer(&response)?;
        }
        // A filter's configuration is confirmed a moment later.
        while let Some(response) = raw.hear(Duration::from_secs(2))? {
            raw.answer(&response)?;
        }
        Ok(raw)
    }

    fn say(&mut self, requests: &[DeltaRequest]) -> Result<()> {
        for request in requests {
            self.connection.send(self.stream, request);
        }
        self.connection.write()
    }

    /// Answers as Envoy would.
    fn answer(&mut self, response: &DeltaResponse) -> Result<()> {
        let requests = self.follower.take(response)?;
        self.say(&requests)
    }

    /// The next response; `None` if there is none in this time.
    fn hear(&mut self, limit: Duration) -> Result<Option<DeltaResponse>> {
        let Self { runtime, connection, .. } = self;
        let Ok(event) = runtime.block_on(async { timeout(limit, connection.next()).await }) else {
            return Ok(None);
        };
        match event?.context("the connection is closed")? {
            Event::Message(_, message) => Ok(Some(DeltaResponse::decode(message)?)),
            Event::Ended(_) => anyhow::bail!("the stream is over"),
        }
    }
}

#[test]
fn a_cluster_is_removed_only_once_the_routes_that_left_it_are_acknowledged() -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge"])?;
        let mut raw = Raw::connect(&stage, "slow", "edge")?;
        assert!(raw.follower.held(type_url::CLUSTER).contains_key("alpha"));
        stage.send_to("new", "beta")?;
        // Everything is acknowledged as it comes, except for the routes.
        let mut routes = None;
        while let Some(response) = raw.hear(SILENCE)? {
            ensure!(response.removed.is_empty(), "removed before the routes were acknowledged: {response:?}");
            if response.type_url == type_url::ROUTE {
                assert!(
                    raw.follower.held(type_url::CLUSTER).contains_key("new"),
                    "routes before their cluster"
                );
                routes = Some(response);
            } else {
                raw.answer(&response)?;
            }
        }
        raw.answer(&routes.context("no routes came")?)?;
        while raw.follower.held(type_url::CLUSTER).contains_key("alpha") {
            let response = raw.hear(wait::PATIENCE)?.context("the old cluster is never removed")?;
            raw.answer(&response)?;
        }
        Ok(())
    })
}

#[test]
fn an_edit_of_one_fleet_changes_no_version_of_another() -> Result<()> {
    Scene::play(|scene| {
        let stage = Stage::start(scene, &["edge"])?;
        let other = |backend: &str| {
            stage.documents.write(
                "other.yaml",
                &format!(
                    "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {{name: other}}\nspec:\n  fleet: other\n  \
                     listeners: [{{name: web, address: 127.0.0.1, port: 9, protocol: HTTP}}]\n---\n\
                     apiVersion: spillway.dev/v1\nkind: Route\nmetadata: {{name: other}}\nspec: {{parentRefs: [{{name: other}}], \
                     rules: [{{name: all, backendRefs: [{{name: {backend}}}]}}]}}\n---\n\
                     apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: {backend}}}\nspec: {{endpoints: [{{address: 127.0.0.1, port: 9}}]}}\n"
                ),
            )
        };
        other("first")?;
        let kinds = [
            type_url::CLUSTER,
            type_url::ENDPOINTS,
            type_url::LISTENER,
            type_url::ROUTE,
            type_url::EXTENSION_CONFIG,
        ];
        let versions = |raw: &Raw| kinds.map(|kind| raw.follower.held(kind));
        let mut edge = Raw::connect(&stage, "one", "edge")?;
        let mut theirs = Raw::connect(&stage, "two", "other")?;
        let before = versions(&edge);
        assert!(before.iter().take(4).all(|held| !held.is_empty()), "{before:?}");

        other("second")?;
        while !theirs.follower.held(type_url::CLUSTER).contains_key("second") {
            let response = theirs.hear(wait::PATIENCE)?.context("the edit does not arrive")?;
            theirs.answer(&response)?;
        }
        let unasked = edge.hear(SILENCE)?;
        assert!(unasked.is_none(), "{unasked:?}");
        // Nor is a proxy that comes later told another version.
        assert_eq!(versions(&Raw::connect(&stage, "three", "edge")?), before);
        Ok(())
    })
}
