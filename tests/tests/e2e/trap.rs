//! A VM that breaks down, and a store that does not answer.
//!
//! The product has no way to be broken, so the tests break their own copies of the module: in one, whatever has forty headers or more executes an
//! `unreachable` before the filter's own code; in the other, every call for shared data is refused.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use spillway_tests::artifacts;
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;
use spillway_tests::wait;
use walrus::ir::BinaryOp;
use walrus::{ExportItem, FunctionBuilder, Module, ValType};

use crate::text::{TO_ALPHA, care, guarded, site};
use crate::world::World;

/// Requests in the tests have some ten headers; Envoy lets a hundred through.
const TOO_MANY: i32 = 40;
const CALLBACK: &str = "proxy_on_request_headers";

/// The filter, with a hole in it.
fn fragile(file: &Path) -> Result<()> {
    let mut module = Module::from_buffer(&fs::read(artifacts::filter()?)?)?;
    let export = module.exports.iter().find(|export| export.name == CALLBACK);
    let export = export.with_context(|| format!("the module does not export {CALLBACK}"))?;
    let (id, ExportItem::Function(callback)) = (export.id(), export.item) else {
        bail!("{CALLBACK} is no function")
    };
    // context, number of headers, end of stream
    let arguments = [ValType::I32; 3].map(|kind| module.locals.add(kind));
    let [_, headers, _] = arguments;
    let mut wrapper = FunctionBuilder::new(&mut module.types, &[ValType::I32; 3], &[ValType::I32]);
    let mut body = wrapper.func_body();
    body.local_get(headers).i32_const(TOO_MANY).binop(BinaryOp::I32GeU);
    body.if_else(
        None,
        |broken| {
            broken.unreachable();
        },
        |_| {},
    );
    for argument in arguments {
        body.local_get(argument);
    }
    body.call(callback);
    let wrapper = wrapper.finish(arguments.to_vec(), &mut module.funcs);
    module.exports.get_mut(id).item = ExportItem::Function(wrapper);
    fs::write(file, module.emit_wasm())?;
    Ok(())
}

/// The filter, with a host that refuses shared data.
fn forgetful(file: &Path) -> Result<()> {
    const INTERNAL_FAILURE: i32 = 10;
    let mut module = Module::from_buffer(&fs::read(artifacts::filter()?)?)?;
    for name in ["proxy_get_shared_data", "proxy_set_shared_data"] {
        let import = module.imports.get_func("env", name)?;
        module.replace_imported_func(import, |(body, _)| {
            body.i32_const(INTERNAL_FAILURE);
        })?;
    }
    fs::write(file, module.emit_wasm())?;
    Ok(())
}

/// Puts a module in force on both workers, beside the main thread and the VM that tries it.
fn load(world: &mut World, module: PathBuf) -> Result<()> {
    let built = world.envoy.stat("wasm.envoy.wasm.runtime.v8.created")?;
    world.control_plane.restart_with_filter(module)?;
    wait::until("the VMs of the module", || {
        let now = world.envoy.stat("wasm.envoy.wasm.runtime.v8.created")?;
        ensure!(now >= built + 4, "{} VMs were built", now - built);
        Ok(())
    })?;
    world.envoy.wait_settled()
}

/// Sends a request that breaks the VM of the worker that gets it, and says what it was answered.
fn break_down(world: &World) -> Result<String> {
    let mut stream = TcpStream::connect(world.web.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let headers = "x-a: b\r\n".repeat(usize::try_from(TOO_MANY)?);
    stream
        .write_all(format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// So many slow requests at once, each of a user of its own: how many were admitted, how many rejected by the bulkhead.
fn fill(world: &World, attempt: u32, requests: usize) -> Result<(usize, usize)> {
    let load = Load::get(world.url("/")).header("x-user", &format!("fill-{attempt}-{{n}}"));
    let load = load.concurrency(requests).requests(requests);
    let report = load.run(&world.client.reconnected()?)?;
    let full = report.records.iter().filter(|record| {
        record
            .outcome
            .as_ref()
            .is_ok_and(|outcome| outcome.rejected_by.as_deref() == Some("concurrency/care/pool"))
    });
    Ok((report.count(200), full.count()))
}

/// What the gauge of the bulkhead shows.
fn shown_in_flight(world: &World) -> Result<u64> {
    Ok(world.envoy.stats("spillway_in_flight.policy.care.rule.pool")?.values().sum())
}

#[test]
fn a_vm_that_breaks_down_costs_its_streams_and_no_more() -> Result<()> {
    const POOL: usize = 6;
    Scene::play(|scene| {
        let policy = care(
            "rateLimits: [{name: spent, key: [{header: x-user}], rate: 1/h, burst: 2}]\n\
             concurrency: [{name: pool, max: 6}]",
        );
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        let file = scene.folder().join("fragile.wasm");
        fragile(&file)?;
        load(&mut world, file)?;
        let spent = [("x-user", "spent")];
        for expected in [200, 200, 429] {
            assert_eq!(world.get("/", &spent)?.status, expected);
        }

        // Streams are in flight on both workers when the VM of one of them breaks down.
        world.upstreams.answer_slowly("alpha", 200, 1_500)?;
        let users = Load::get(world.url("/")).header("x-user", "{n}");
        let before = world.upstreams.requests("alpha")?;
        let mut in_flight = users.concurrency(POOL).requests(POOL).start(&world.client.reconnected()?)?;
        wait::until("the pool to be full", || {
            in_flight.going_on()?;
            let reached = world.upstreams.requests("alpha")? - before;
            ensure!(reached >= POOL as u64, "{reached} of {POOL}");
            let shown = shown_in_flight(&world)?;
            ensure!(shown > 0, "{shown} are shown to be in flight");
            Ok(())
        })?;
        let answer = break_down(&world)?;
        ensure!(answer.starts_with("HTTP/1.1 503"), "the request that broke the VM was answered: {answer}");
        let report = in_flight.wait()?;
        assert_eq!(report.other_than(&[200, 503]), [].into(), "streams end, with their answer or with 503");
        world.upstreams.answer_with("alpha", 200)?;

        // Envoy builds a new VM after a second. Until then the worker answers 503; the other one goes on.
        let mut tries = 0;
        wait::until("both workers to answer", || {
            tries += 1;
            let load = Load::get(world.url("/")).header("x-user", &format!("after-{tries}-{{n}}"));
            let report = load.concurrency(8).requests(40).run(&world.client.reconnected()?)?;
            let others = report.other_than(&[200]);
            ensure!(others.is_empty(), "{others:?}");
            Ok(())
        })?;

        // Whoever watches learns of it: this is what the alert looks at.
        let metrics = world.envoy.prometheus()?;
        let rebuilt = metrics
            .lines()
            .find_map(|line| line.strip_prefix("envoy_wasm_spillway_edge_vm_reload_success{}"));
        let rebuilt: u64 = rebuilt.context("no metric of rebuilt VMs")?.trim().parse()?;
        ensure!(rebuilt > 0, "no VM was rebuilt");

        // What was spent is spent: limits are in the host.
        let answer = world.get("/", &spent)?;
        assert_eq!(
            (answer.status, answer.header("x-spillway-rejected-by")),
            (429, Some("rate-limit/care/spent"))
        );

        // What the broken VM had in flight is no more, and the pool is as large as before, not larger.
        world.upstreams.answer_slowly("alpha", 200, 1_000)?;
        let mut tries = 0;
        wait::until("the whole pool", || {
            tries += 1;
            let (admitted, full) = fill(&world, tries, POOL)?;
            ensure!(admitted == POOL && full == 0, "{admitted} of {POOL} admitted, {full} rejected");
            Ok(())
        })?;
        wait::until("nothing to be in flight", || {
            let shown = shown_in_flight(&world)?;
            ensure!(shown == 0, "{shown} are shown to be");
            Ok(())
        })
    })
}

#[test]
fn each_rule_says_what_a_store_that_does_not_answer_means() -> Result<()> {
    const RULES: [(&str, &str, &str); 3] = [
        ("rate-limit", "rateLimits", "rate: 1/h, burst: 1"),
        (
            "circuit-breaker",
            "circuitBreakers",
            "window: 10s, minRequests: 1, trip: {errorCount: 1}, openFor: 1h, probes: 1",
        ),
        ("concurrency", "concurrency", "max: 1"),
    ];
    Scene::play(|scene| {
        let mut rules = String::new();
        let mut policies = String::new();
        for (kind, field, rule) in RULES {
            for says in ["allow", "deny"] {
                let limits = format!("{field}: [{{name: rule, {rule}, onFailure: {says}}}]");
                let (rule, policy) = guarded(&format!("{kind}-{says}"), &limits);
                rules += &rule;
                policies += &policy;
            }
        }
        let mut world = World::start(scene, &[("documents.yaml", &format!("{}{policies}", site(&rules)))])?;
        let file = scene.folder().join("forgetful.wasm");
        forgetful(&file)?;
        load(&mut world, file)?;
        for (kind, ..) in RULES {
            let path = format!("/{kind}-allow");
            world.until(&path, &path, |answer| answer.status == 200)?;
            let (path, by) = (format!("/{kind}-deny"), format!("{kind}/{kind}-deny/rule"));
            world
                .until(&path, &path, |answer| answer.header("x-spillway-rejected-by") == Some(by.as_str()))?;
        }
        Ok(())
    })
}
