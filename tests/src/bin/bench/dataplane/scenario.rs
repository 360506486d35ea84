//! What is measured, and how the control plane renders it.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

/// One set of documents and the request that is sent to it.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// In the table.
    pub(crate) name: &'static str,
    /// Below `docs/examples/bench`.
    folder: &'static str,
    /// So many copies of its Route and TrafficPolicy; 0: as it is.
    copies: usize,
    /// Whether our filter rejects the request.
    pub(crate) rejects: bool,
    /// Whether it is measured with an upstream, too.
    pub(crate) upstream: bool,
    /// Whether it is measured with two workers, too.
    pub(crate) two_workers: bool,
}

impl Scenario {
    const fn new(name: &'static str, folder: &'static str) -> Self {
        Self { name, folder, copies: 0, rejects: false, upstream: false, two_workers: false }
    }

    const fn with_upstream(self) -> Self {
        Self { upstream: true, ..self }
    }

    const fn copied(self, copies: usize) -> Self {
        Self { copies, ..self }
    }
}

pub(crate) const SCENARIOS: [Scenario; 8] = [
    Scenario { two_workers: true, ..Scenario::new("a: one limit", "one-limit") }.with_upstream(),
    Scenario::new("b: limit by key", "limit-by-key").with_upstream(),
    Scenario::new("b2: limit by key, with headers", "limit-by-key-with-headers"),
    Scenario::new("c: limit, breaker, bulkhead", "everything").with_upstream(),
    Scenario::new("d: 10 routes", "many-routes").copied(10),
    Scenario::new("d: 1,000 routes", "many-routes").copied(1_000),
    Scenario::new("d: 10,000 routes", "many-routes").copied(10_000),
    Scenario { rejects: true, ..Scenario::new("e: all rejected", "all-rejected") }.with_upstream(),
];

impl Scenario {
    /// The path of the request: of many routes, one in the middle.
    pub(crate) fn path(&self) -> String {
        if self.copies == 0 { "/orders/7".to_owned() } else { format!("/n{}/7", self.copies / 2) }
    }

    /// Envoy's configuration, as Envoy says it has it.
    pub(crate) fn render(&self, scene: &Scene, client: &Client, upstream: u16) -> Result<Value> {
        let (listener, admin) = (Port::free()?, Port::free()?);
        let source = artifacts::workspace().join("docs/examples/bench").join(self.folder);
        let folder = scene.folder().join("documents");
        let documents = Documents::copy(&source, &folder, &[(10_000, listener.number()), (8081, upstream)])?;
        if self.copies > 0 {
            let text = documents.read("bench.yaml")?;
            for (number, file) in copied(&text, self.copies).iter().enumerate() {
                // The first takes the place of what was copied.
                let name = if number == 0 { "bench.yaml".to_owned() } else { format!("bench-{number}.yaml") };
                documents.write(&name, file)?;
            }
        }
        let control_plane = ControlPlane::start(client, documents.folder(), scene.folder())?;
        let bootstrap = scene.folder().join("bootstrap.yaml");
        let module = artifacts::filter()?;
        let module = module.to_str().context("a path that is not UTF-8")?;
        control_plane.bootstrap("bench", &admin, &bootstrap, &["--filter-path", module])?;
        let envoy = Envoy::start(client, &bootstrap, &admin, 1, &scene.log("rendering"))?;
        let url = format!("http://{}{}", listener.address(), self.path());
        wait::until("Envoy to serve", || {
            let answer = client.get(&url, &[])?;
            ensure!([200, 429].contains(&answer.status), "{}", answer.status);
            Ok(())
        })?;
        client.read(&format!("http://{}/config_dump?include_eds", envoy.admin()))?.json()
    }
}

/// The documents with so many Routes and policies in place of one: files of a size that a person would still open.
fn copied(text: &str, copies: usize) -> Vec<String> {
    const IN_A_FILE: usize = 1_000;
    let (numbered, common): (Vec<_>, Vec<_>) = text.split("---\n").partition(|document| {
        ["kind: Route\n", "kind: TrafficPolicy\n"].iter().any(|kind| document.contains(kind))
    });
    let copy = |number: usize| {
        let number = format!("n{number}");
        numbered.iter().map(|document| document.replace("n0", &number)).collect::<Vec<_>>().join("---\n")
    };
    let copies: Vec<_> = (0..copies).map(copy).collect();
    let files = copies.chunks(IN_A_FILE).map(|copies| copies.join("---\n"));
    std::iter::once(common.join("---\n")).chain(files).collect()
}

/// The module as the measured configurations name it.
pub(crate) fn module() -> Result<String> {
    let path = fs::canonicalize(artifacts::filter()?)?;
    path.into_os_string().into_string().ok().context("a path that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_differ_by_their_numbers() {
        let text = "kind: Gateway\n---\nkind: Route\nname: n0\n---\nkind: TrafficPolicy\nname: n0\n";
        let files = copied(text, 2_500);
        assert_eq!(files.len(), 4, "what there is once, and the copies");
        let all = files.join("---\n");
        assert_eq!(all.matches("---").count(), 5_000);
        assert_eq!(all.matches("name: n1\n").count(), 2);
        assert_eq!(all.matches("Gateway").count(), 1);
    }
}
