//! CPU time per request: the currency in which a filter is paid, because a proxy that needs twice of it serves half.
//!
//! Every variant is an Envoy of its own with one worker that answers directly, so that no upstream's cost hides the difference. The
//! variants are loaded in turns, round after round, so that whatever else the machine does meets all of them.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::envoy::Envoy;
use spillway_tests::load::quantile;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;

use crate::machine;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often each variant is measured
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of a measurement
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Connections that send at the same time
    #[arg(long, default_value_t = 32)]
    connections: u32,
}

/// An Envoy with one filter, and what was measured of it, in nanoseconds of CPU time per request.
struct Variant {
    name: &'static str,
    envoy: Envoy,
    url: String,
    measured: Vec<u64>,
    _ports: [Port; 2],
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let found = Command::new("wrk").arg("-v").output().is_ok();
    ensure!(found, "the load comes from wrk, which is not installed: apt-get install wrk");
    Scene::play(|scene| {
        let client = Client::new()?;
        let mut variants = Vec::new();
        for (name, filter) in filters()? {
            variants.push(Variant::start(scene, &client, name, filter.as_ref())?);
        }
        for variant in &mut variants {
            // Buffers, caches and the module's compilation are not what is measured.
            variant.load(options)?;
        }
        for round in 1..=options.rounds {
            eprintln!("round {round} of {}", options.rounds);
            for variant in &mut variants {
                let nanos = variant.load(options)?;
                variant.measured.push(nanos);
            }
        }
        print(&variants, options)
    })
}

/// The filters that are compared, by name.
fn filters() -> Result<Vec<(&'static str, Option<Value>)>> {
    let lua = "function envoy_on_request(h) h:headers():add('x-route-key', h:headers():get('x-tenant-id') or '') end";
    let lua = json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": lua},
        },
    });
    let native = json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "limit",
            "token_bucket": {"max_tokens": 1_000_000, "tokens_per_fill": 1_000_000, "fill_interval": "1s"},
            "filter_enabled": {"default_value": {"numerator": 100}},
            "filter_enforced": {"default_value": {"numerator": 100}},
        },
    });
    Ok(vec![
        ("no filter", None),
        ("native local_ratelimit, one bucket", Some(native)),
        ("Lua copying a header", Some(lua)),
        ("Spillway, the demo's policies", Some(spillway()?)),
    ])
}

/// The policies of demo/documents/protection.yaml on one route, so that key, limit and breaker all have work; with a limit that this
/// load doesn't reach, because a reject is cheaper than a request.
fn spillway() -> Result<Value> {
    let configuration = json!({
        "policies": [
            {
                "name": "orders-protection",
                "appliesTo": [{"routePrefix": "orders/"}],
                "routeKey": [
                    {"header": "x-tenant-id"},
                    {"template": "/orders/{tenant}/**", "key": "{tenant}"},
                    {"value": "anonymous"},
                ],
                "rateLimits": [{"name": "per-tenant", "key": ["routeKey"], "rate": "1000000/s"}],
            },
            {
                "name": "payments-protection",
                "appliesTo": [{"routePrefix": "orders/"}],
                "circuitBreakers": [{
                    "name": "failing",
                    "key": ["backend"],
                    "window": "5s",
                    "minRequests": 10,
                    "trip": {"errorRatio": "50%"},
                    "openFor": "2s",
                    "probes": 3,
                }],
            },
        ],
    });
    Ok(json!({
        "name": "spillway/edge",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "spillway/edge",
                "root_id": "spillway",
                "failure_policy": "FAIL_RELOAD",
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
                "vm_config": {
                    "vm_id": "spillway",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": artifacts::filter()?}},
                },
            },
        },
    }))
}

impl Variant {
    fn start(scene: &Scene, client: &Client, name: &'static str, filter: Option<&Value>) -> Result<Self> {
        let (listener, admin) = (Port::free()?, Port::free()?);
        let file = scene.folder().join(format!("{}.yaml", listener.number()));
        fs::write(&file, bootstrap(&listener, &admin, filter).to_string())?;
        let log = scene.log(&format!("envoy-{}", listener.number()));
        let envoy =
            Envoy::start(client, &file, &admin, 1, &log).with_context(|| format!("Envoy with {name}"))?;
        let url = format!("http://{}/orders/acme/7", listener.address());
        Ok(Self { name, envoy, url, measured: Vec::new(), _ports: [listener, admin] })
    }

    /// Nanoseconds of CPU time per request during one measurement.
    fn load(&mut self, options: &Options) -> Result<u64> {
        let (connections, duration) = (options.connections.to_string(), format!("{}s", options.seconds));
        let id = self.envoy.process().id();
        let before = machine::cpu_micros(id)?;
        let output = Command::new("wrk")
            .args(["-t", "1", "-c", &connections, "-d", &duration, "-H", "x-tenant-id: acme", &self.url])
            .output()
            .context("cannot run wrk")?;
        let used = machine::cpu_micros(id)? - before;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            bail!("not every request of the variant \"{}\" was served:\n{text}", self.name);
        }
        let requests = requests(&text).with_context(|| format!("wrk said nothing of requests:\n{text}"))?;
        (used * 1_000).checked_div(requests).context("wrk sent nothing")
    }
}

/// `  83112 requests in 3.01s, 9.35MB read`.
fn requests(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
}

fn bootstrap(listener: &Port, admin: &Port, filter: Option<&Value>) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    });
    let filters: Vec<_> = filter.into_iter().chain([&router]).collect();
    let address =
        |port: &Port| json!({"socket_address": {"address": "127.0.0.1", "port_value": port.number()}});
    json!({
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [{
            "name": "web",
            "address": address(listener),
            "filter_chains": [{"name": "web", "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "web",
                    "http_filters": filters,
                    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                        "name": "orders/api",
                        "match": {"prefix": "/"},
                        "direct_response": {"status": 200, "body": {"inline_string": "orders\n"}},
                    }]}]},
                },
            }]}],
        }]},
    })
}

#[expect(clippy::cast_precision_loss, reason = "microseconds with one digit behind the point")]
fn print(variants: &[Variant], options: &Options) -> Result<()> {
    let Options { rounds, seconds, connections } = options;
    println!("{}", machine::line()?);
    println!("{rounds} rounds of {seconds} s, {connections} connections, 1 worker; median (least to most)\n");
    println!("| HTTP filter | CPU per request | added | of no filter |\n|---|---|---|---|");
    let micros = |nanos: u64| nanos as f64 / 1_000.0;
    let baseline =
        variants.first().and_then(|v| quantile(&v.measured, 0.5)).context("nothing was measured")?;
    for variant in variants {
        let of = |share| quantile(&variant.measured, share).context("nothing was measured");
        let (least, median, most) = (of(0.0)?, of(0.5)?, of(1.0)?);
        println!(
            "| {} | {:.1} us ({:.1} to {:.1}) | {:+.1} us | {:.2} |",
            variant.name,
            micros(median),
            micros(least),
            micros(most),
            micros(median) - micros(baseline),
            median as f64 / baseline as f64
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_what_wrk_prints() {
        let output =
            "Running 3s test @ http://127.0.0.1/\n  1 threads\n  83112 requests in 3.01s, 9.35MB read\n";
        assert_eq!(requests(output), Some(83_112));
        assert_eq!(requests("unable to connect"), None);
    }
}
