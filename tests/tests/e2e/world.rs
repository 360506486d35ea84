//! What most tests need: two upstreams, a control plane and one Envoy with two workers.

use std::time::Duration;

use anyhow::{Result, ensure};
use spillway_tests::client::{Answer, Client};
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::load::Load;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;
use spillway_tests::wait;

pub(crate) use crate::text::TO_ALPHA;

/// A Gateway and two Backends; the names in capitals stand for ports.
const BASE: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  fleet: edge
  listeners: [{name: web, address: 127.0.0.1, port: WEB, protocol: HTTP}]
---
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: alpha}
spec: {endpoints: [{address: 127.0.0.1, port: ALPHA}]}
---
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: beta}
spec: {endpoints: [{address: 127.0.0.1, port: BETA}]}
";

/// Request headers.
pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// One test's programs.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) documents: Documents,
    pub(crate) upstreams: Upstreams,
    pub(crate) control_plane: ControlPlane,
    pub(crate) envoy: Envoy,
    pub(crate) web: Port,
    _admin: Port,
}

impl World {
    /// Starts everything with these files beside `base.yaml`, and waits until `/` on the Gateway's port is answered at all.
    pub(crate) fn start(scene: &Scene, files: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(scene, files, &[])
    }

    /// The same with more flags for the Envoy's bootstrap.
    pub(crate) fn start_with(scene: &Scene, files: &[(&str, &str)], flags: &[&str]) -> Result<Self> {
        let client = Client::new()?;
        let (web, admin) = (Port::free()?, Port::free()?);
        let upstreams = Upstreams::start(scene, &client, &["alpha", "beta"])?;
        let documents = Documents::empty(&scene.folder().join("documents"))?;
        let base = BASE
            .replace("WEB", &web.number().to_string())
            .replace("ALPHA", &upstreams.port("alpha")?.to_string())
            .replace("BETA", &upstreams.port("beta")?.to_string());
        documents.write("base.yaml", &base)?;
        for (name, text) in files {
            documents.write(name, text)?;
        }
        let control_plane = ControlPlane::start(&client, documents.folder(), scene.folder())?;
        let bootstrap = scene.folder().join("bootstrap.yaml");
        control_plane.bootstrap("edge", &admin, &bootstrap, flags)?;
        let envoy = Envoy::start(&client, &bootstrap, &admin, 2, &scene.log("envoy"))?;
        let world = Self { client, documents, upstreams, control_plane, envoy, web, _admin: admin };
        // Any answer will do: what a test expects of it is the test's business.
        wait::until("the Gateway's port", || world.get("/", &[]).map(drop))?;
        Ok(world)
    }

    /// A URL on the Gateway.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.web.address())
    }

    /// GET through Envoy.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.client.get(&self.url(path), headers)
    }

    /// Waits until requests, each on a connection and by a user of its own, are answered as expected so many times in a row that both
    /// workers must have answered some: what one of them has in force, the other may not have yet.
    pub(crate) fn until(&self, what: &str, path: &str, expected: impl Fn(&Answer) -> bool) -> Result<()> {
        const IN_A_ROW: usize = 20;
        let mut tries = 0;
        wait::until(what, || {
            for _ in 0..IN_A_ROW {
                tries += 1;
                let user = format!("waiter-{tries}");
                let answer = self.get(path, &[("x-user", &user), ("connection", "close")])?;
                ensure!(
                    expected(&answer),
                    "GET {path} is answered with {} by {:?}",
                    answer.status,
                    answer.header("x-upstream").or(answer.header("x-spillway-rejected-by"))
                );
            }
            Ok(())
        })
    }

    /// Load that goes on in the background of an edit: moderate, because the machine has other tests to run.
    pub(crate) fn steady(&self, path: &str) -> Load {
        Load::get(self.url(path)).concurrency(8).pause(Duration::from_millis(2)).requests(1_000_000)
    }
}
