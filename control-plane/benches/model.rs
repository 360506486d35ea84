//! What ten thousand documents cost: to check, to hold, and to edit one of. `cargo xtask bench model` runs this.
//!
//! It prints figures and has no thresholds: a figure depends on the machine and on what else it does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a program for developers"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use spillway::snapshot::build::Builder;
use spillway::snapshot::revision::Revisions;
use spillway::store::{FileStore, Store as _};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const DOCUMENTS: usize = 10_000;
const EDITS: usize = 50;

fn main() {
    // `cargo test --benches` runs it too, and only wants to know that it is there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let protected = routes().into_iter().chain((0..DOCUMENTS).map(policy)).collect();
    let scenarios = [
        ("one document a file", 1, routes()),
        ("a hundred documents a file", 100, routes()),
        ("a TrafficPolicy for each, a hundred documents a file", 100, protected),
    ];
    for (name, per_file, documents) in scenarios {
        let dir = TempDir::new().unwrap();
        write(dir.path(), &documents, per_file);
        println!("{DOCUMENTS} routes of one listener, {name}:");
        runtime.block_on(edits(dir.path(), documents, per_file));
    }
    let dir = TempDir::new().unwrap();
    write(dir.path(), &mixed(), 100);
    let times = (0..5).map(|_| {
        let begun = Instant::now();
        let model = FileStore::new(dir.path()).load().unwrap();
        assert!(!model.policies.is_empty());
        begun.elapsed()
    });
    println!("{DOCUMENTS} documents of all kinds:");
    show("check", times.collect());
}

async fn edits(dir: &Path, documents: Vec<String>, per_file: usize) {
    let state = TempDir::new().unwrap();
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    let begun = Instant::now();
    let store = FileStore::new(dir).open(Some(state.path()), &mut tasks, stop.clone()).unwrap();
    println!("  first read            {:>9.1?}", begun.elapsed());
    let mut newest = store.subscribe();
    let mut builder = Builder::new("", Revisions::default());
    let begun = Instant::now();
    builder.build(&newest.borrow_and_update().model.clone(), 1);
    println!("  first snapshot        {:>9.1?}", begun.elapsed());
    println!("  memory                {:>6} MiB", resident() >> 20);
    let (mut accepted, mut whole, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for edit in 0..EDITS {
        // Sooner, some of what the last edit made would still be under way.
        tokio::time::sleep(Duration::from_millis(60)).await;
        let at = edit * 97 % DOCUMENTS;
        let file = at / per_file * per_file;
        let mut chunk: Vec<_> = documents.iter().skip(file).take(per_file).cloned().collect();
        let text = chunk.get_mut(at - file).unwrap();
        *text = text.replace("weight: 1}", &format!("weight: {}}}", edit + 2));
        let chunk = chunk.join("---\n");
        let draft = dir.join("draft");
        fs::write(&draft, chunk).unwrap();
        let (begun, worked) = (Instant::now(), worked_so_far());
        fs::rename(&draft, dir.join(format!("{file:05}.yaml"))).unwrap();
        newest.changed().await.unwrap();
        accepted.push(begun.elapsed());
        let model = newest.borrow_and_update().model.clone();
        builder.build(&model, 1);
        whole.push(begun.elapsed());
        busy.push(worked_so_far().saturating_sub(worked));
    }
    show("edit until in force", accepted);
    show("edit until snapshot", whole);
    show("  CPU time of that", busy);
    println!("  memory after {EDITS} edits  {:>6} MiB", resident() >> 20);
    stop.cancel();
    tasks.join_all().await;
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() - 1) * part / 100).copied().unwrap_or_default();
    println!("  {what:<21} {:>9.1?} median, {:.1?} worst", at(50), at(100));
}

/// CPU time of all threads of this process: unlike the clock on the wall it says little about who else wants the cores.
fn worked_so_far() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Bytes of memory that this process has now.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}")
}

fn route(gateway: &str, number: usize) -> String {
    let spec = format!(
        "  parentRefs: [{{name: {gateway}}}]\n  rules:\n    - name: all\n      matches:\n        - path: {{type: PathPrefix, value: /r{number}}}\n          method: GET\n      backendRefs:\n        - {{name: backend-{}, weight: 1}}\n        - {{name: backend-{}, weight: 3}}\n",
        number % 50,
        50 + number % 50,
    );
    document("Route", &format!("route-{number:05}"), &spec)
}

fn gateway(name: &str, port: usize) -> String {
    let spec = format!("  fleet: {name}\n  listeners:\n    - {{name: web, port: {port}, protocol: HTTP}}\n");
    document("Gateway", name, &spec)
}

fn backend(number: usize) -> String {
    let mut spec = String::from("  endpoints:\n");
    for host in 1..4 {
        writeln!(spec, "    - {{address: 10.{}.{}.{host}, port: 8080}}", number / 250, number % 250).unwrap();
    }
    document("Backend", &format!("backend-{number}"), &spec)
}

fn routes() -> Vec<String> {
    (0..DOCUMENTS).map(|number| route("edge", number)).collect()
}

fn policy(number: usize) -> String {
    let spec = format!(
        "  targetRefs: [{{kind: Route, name: route-{number:05}}}]\n  routeKey: [{{header: x-tenant-id}}]\n  rateLimits:\n    - {{name: per-tenant, key: [routeKey], rate: 100/s, burst: 200}}\n"
    );
    document("TrafficPolicy", &format!("policy-{number}"), &spec)
}

/// A policy for each sixth of the routes, so many Backends that some have no route, and ten Gateways.
fn mixed() -> Vec<String> {
    let policies = (0..1_000).map(policy);
    let routes = (0..6_000).map(|number| route(&format!("edge-{}", number % 10), number));
    let gateways = (0..10).map(|number| gateway(&format!("edge-{number}"), 10_000 + number));
    let backends = (100..DOCUMENTS - 7_010 + 100).map(backend);
    policies.chain(routes).chain(gateways).chain(backends).collect()
}

fn write(dir: &Path, documents: &[String], per_file: usize) {
    for (number, chunk) in documents.chunks(per_file).enumerate() {
        fs::write(dir.join(format!("{:05}.yaml", number * per_file)), chunk.join("---\n")).unwrap();
    }
    let mut base: Vec<_> = (0..100).map(backend).collect();
    base.push(gateway("edge", 10_100));
    fs::write(dir.join("base.yaml"), base.join("---\n")).unwrap();
}
