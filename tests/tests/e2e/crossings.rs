//! How often a request crosses the boundary between Envoy and the module. Every crossing is paid by every request, so one that creeps in has to be seen.

use anyhow::{Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::crossings::{self, Crossings};
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;
use spillway_tests::wait;

const CLOCK: &str = "clock_time_get";
const HEADER: &str = "proxy_get_header_map_value";
const PROPERTY: &str = "proxy_get_property";
const TELL: &str = "proxy_set_property";
const REJECT: &str = "proxy_send_local_response";

/// The documents that the benchmark measures, and what their filter asks Envoy for each request.
const EXPECTED: [(&str, &[&str]); 5] = [
    ("one-limit", &[CLOCK]),
    ("limit-by-key", &[CLOCK, HEADER, TELL]),
    ("limit-by-key-with-headers", &[CLOCK, HEADER, TELL, TELL, TELL]),
    // Key and backend; at the end the status, how the stream broke off if it did, and the time.
    ("everything", &[CLOCK, HEADER, PROPERTY, TELL, HEADER, PROPERTY, CLOCK]),
    ("all-rejected", &[CLOCK, HEADER, TELL, TELL, REJECT]),
];

#[test]
fn a_request_crosses_the_boundary_no_more_often_than_it_must() -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let (web, admin) = (Port::free()?, Port::free()?);
        let upstreams = Upstreams::start(scene, &client, &["orders"])?;
        let ports = [(10_000, web.number()), (8081, upstreams.port("orders")?)];
        let folder = scene.folder().join("documents");
        let copy = |name: &str| {
            let source = artifacts::workspace().join("docs/examples/bench").join(name);
            Documents::copy(&source, &scene.folder().join(name), &ports)?.read("bench.yaml")
        };
        let documents = Documents::empty(&folder)?;
        let (first, _) = EXPECTED[0];
        documents.write("bench.yaml", &copy(first)?)?;
        let control_plane = ControlPlane::start(&client, documents.folder(), scene.folder())?;
        let bootstrap = scene.folder().join("bootstrap.yaml");
        control_plane.bootstrap("bench", &admin, &bootstrap, &[])?;
        let mut envoy = Envoy::start(&client, &bootstrap, &admin, 1, &scene.log("envoy"))?;
        let url = format!("http://{}/orders/7", web.address());
        for (name, expected) in EXPECTED {
            documents.write("bench.yaml", &copy(name)?)?;
            wait::until(name, || {
                let tenant = [("x-tenant-id", "acme")];
                let crossings = crossings::count(&mut envoy, &client, &url, &tenant, "proxy_on_log")?;
                let Crossings { callbacks, host_calls } = crossings;
                ensure!(callbacks == ["proxy_on_request_headers", "proxy_on_log"], "{callbacks:?}");
                // What workers share has to be read and written again where nobody has asked for a while; that is spread over many requests.
                let shared = |call: &&String| call.ends_with("_shared_data");
                let rules = host_calls.iter().filter(shared).count();
                ensure!(rules <= 4, "{host_calls:?}");
                let own: Vec<_> = host_calls.iter().filter(|call| !shared(call)).collect();
                ensure!(own == expected, "{host_calls:?}");
                Ok(())
            })?;
        }
        Ok(())
    })
}
