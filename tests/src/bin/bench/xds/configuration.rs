//! The documents that are served and edited: a Gateway, one Route with a rule for every Backend, and a limit, so that every kind of resource
//! that an Envoy asks for is there.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use spillway_tests::documents::Documents;

use super::swarm::MARKER;

/// Documents of a size.
#[derive(Debug)]
pub(super) struct Configuration {
    documents: Documents,
    endpoints: usize,
    backends: usize,
    rules: String,
}

impl Configuration {
    /// Writes them.
    pub(super) fn write(folder: &Path, fleet: &str, backends: usize, endpoints: usize) -> Result<Self> {
        let documents = Documents::empty(folder)?;
        documents.write(
            "gateway.yaml",
            &format!(
                "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  fleet: {fleet}\n  listeners: \
                 [{{name: web, address: 127.0.0.1, port: 10000, protocol: HTTP}}]\n---\n\
                 apiVersion: spillway.dev/v1\nkind: TrafficPolicy\nmetadata: {{name: fair}}\nspec:\n  targetRefs: [{{kind: Gateway, name: edge}}]\n  \
                 rateLimits: [{{name: all, rate: 1000/s}}]\n"
            ),
        )?;
        let mut rules = String::new();
        for number in 0..backends {
            write!(
                rules,
                "    - name: r{number}\n      matches: [{{path: {{type: PathPrefix, value: /b{number}}}}}]\n      backendRefs: [{{name: b{number}}}]\n"
            )?;
        }
        let configuration = Self { documents, endpoints, backends, rules };
        for number in 0..backends {
            configuration.move_endpoint(number, 0)?;
        }
        configuration.weigh(50)?;
        Ok(configuration)
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        self.documents.folder()
    }

    /// How many Backends there are.
    pub(super) fn backends(&self) -> usize {
        self.backends
    }

    /// Gives the first Backend this share, in percent, of the requests that no rule of another Backend takes.
    pub(super) fn weigh(&self, weight: u32) -> Result<()> {
        let (rules, rest) = (&self.rules, 100 - weight.min(100));
        let last = self.backends - 1;
        self.documents.write(
            "route.yaml",
            &format!(
                "apiVersion: spillway.dev/v1\nkind: Route\nmetadata: {{name: site}}\nspec:\n  parentRefs: [{{name: edge}}]\n  rules:\n{rules}    \
                 - name: shared\n      backendRefs: [{{name: b0, weight: {weight}}}, {{name: b{last}, weight: {rest}}}]\n"
            ),
        )
    }

    /// Gives a Backend's first endpoint this port, which is the number of the edit.
    pub(super) fn move_endpoint(&self, backend: usize, port: usize) -> Result<()> {
        let mut endpoints = format!("{{address: {MARKER}, port: {}}}", port.max(1));
        for number in 1..self.endpoints {
            write!(endpoints, ", {{address: 10.{}.{}.{number}, port: 8080}}", backend / 250, backend % 250)?;
        }
        self.documents.write(
            &format!("backend-{backend}.yaml"),
            &format!(
                "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: b{backend}}}\nspec: {{endpoints: [{endpoints}]}}\n"
            ),
        )
    }
}
