//! `spillway serve` and `bootstrap` as commands.

use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::{self, ControlPlane};
use spillway_tests::envoy::Envoy;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;

use crate::world::{TO_ALPHA, World};

#[test]
fn envoy_accepts_every_bootstrap() -> Result<()> {
    let filter = artifacts::filter()?;
    let filter = filter.to_str().context("a path that is not UTF-8")?;
    Scene::play(|scene| {
        let admin = Port::free()?.number().to_string();
        let cases: [&[&str]; 4] = [
            &["--fleet", "edge"],
            &["--fleet", "edge", "--node", "edge-1", "--zone", "a", "--admin-port", &admin],
            &["--fleet", "e d\"ge", "--xds", "127.0.0.1:18000,127.0.0.2:18000,localhost:18000"],
            &["--fleet", "edge", "--xds", "[::1]:18000", "--filter-path", filter],
        ];
        for case in cases {
            let output = control_plane::run(&[&["bootstrap"], case].concat())?;
            ensure!(output.status.success(), "{case:?}: {}", String::from_utf8_lossy(&output.stderr));
            let file = scene.folder().join("bootstrap.yaml");
            std::fs::write(&file, &output.stdout)?;
            Envoy::validate(&file).with_context(|| format!("{case:?}"))?;
        }
        Ok(())
    })
}

#[test]
fn a_local_module_is_used_where_the_bootstrap_says_so() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let filter = artifacts::filter()?;
        let filter = filter.to_str().context("a path that is not UTF-8")?;
        let admin = Port::free()?;
        let bootstrap = scene.folder().join("local.yaml");
        world.control_plane.bootstrap("edge", &admin, &bootstrap, &["--filter-path", filter])?;
        // Beside the first Envoy, on the same port: SO_REUSEPORT is Envoy's default.
        let envoy = Envoy::start(&world.client, &bootstrap, &admin, 1, &scene.log("envoy-local"))?;
        let dump = envoy.config_dump()?.to_string();
        ensure!(dump.contains(filter), "the file is not in the configuration");
        ensure!(!dump.contains("/filter/"), "the module comes over the network all the same");
        assert_eq!(envoy.stat("wasm.remote_load_cache_misses")?, 0);
        Ok(())
    })
}

#[test]
fn a_port_in_use_is_told_in_one_line() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let documents = artifacts::workspace().join("demo/documents");
    let documents = documents.to_str().context("a path that is not UTF-8")?;
    for flag in ["--xds", "--admin"] {
        let other = if flag == "--xds" { "--admin" } else { "--xds" };
        let output =
            control_plane::run(&["serve", "--config", documents, flag, &address, other, "127.0.0.1:0"])?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("spillway: ") && text.contains(&address), "{text}");
    }
    Ok(())
}

#[test]
fn the_limit_on_open_files_is_raised_and_told_if_it_is_too_low() -> Result<()> {
    let before = getrlimit(Resource::Nofile);
    let maximum = before.maximum.context("no limit that could be too low")?;
    let few = Rlimit { current: Some(maximum.min(512)), ..before };
    Scene::play(|scene| {
        let client = Client::new()?;
        let documents = artifacts::workspace().join("demo/documents");
        // What it starts with, it has from this process.
        setrlimit(Resource::Nofile, few)?;
        let started = ControlPlane::start(&client, &documents, scene.folder());
        setrlimit(Resource::Nofile, before)?;
        let mut control_plane = started?;
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", control_plane.process()?.id()))?;
        let line = limits.lines().find(|line| line.starts_with("Max open files")).context("no such limit")?;
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert_eq!(numbers, [maximum, maximum], "{line}");

        let warnings = || -> Result<usize> {
            Ok(std::fs::read_to_string(scene.log("spillway"))?.matches("open files are limited").count())
        };
        let earlier = warnings()?;
        control_plane.restart_with(&["--xds-max-streams", "100"])?;
        assert_eq!(warnings()?, earlier);
        control_plane.restart_with(&["--xds-max-streams", &maximum.to_string()])?;
        assert_eq!(warnings()?, earlier + 1);
        Ok(())
    })
}

#[test]
fn serve_ends_with_sigterm() -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let documents = artifacts::workspace().join("demo/documents");
        let mut control_plane = ControlPlane::start(&client, &documents, scene.folder())?;
        assert_eq!(client.get(&format!("http://{}/healthz", control_plane.admin()), &[])?.status, 200);
        let status = control_plane.process()?.terminate()?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}
