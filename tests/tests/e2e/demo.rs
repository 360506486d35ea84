//! The demo ends as it should. That it succeeds is seen by `cargo xtask test`, which runs it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::process::Process;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

/// The processes whose parent is this one.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse() else { continue };
        // Gone meanwhile, or after the name in parentheses: state and parent.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        if fields.split(' ').nth(1).is_some_and(|field| field == parent.to_string()) {
            children.push(id);
        }
    }
    Ok(children)
}

fn runs(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Starts the demo, ends it while everything runs, and waits until nothing of it is left.
fn end(signal: impl FnOnce(&mut Process) -> Result<()>) -> Result<()> {
    Scene::play(|scene| {
        let folder = scene.folder().join("demo");
        let arguments = ["--folder".as_ref(), folder.as_os_str()];
        let log = scene.log("demo");
        let mut demo = Process::start("the demo", Path::new(env!("CARGO_BIN_EXE_demo")), arguments, &log)?;
        wait::until("the demo's first step", || {
            demo.alive()?;
            ensure!(demo.output().contains("\n1 "), "not yet");
            Ok(())
        })?;
        let children = children(demo.id())?;
        ensure!(children.len() == 3, "the demo has the children {children:?}");
        signal(&mut demo)?;
        wait::until("the end of all that the demo started", || {
            let left: Vec<_> = children.iter().filter(|id| runs(**id)).collect();
            ensure!(left.is_empty(), "{left:?} still run");
            Ok(())
        })
    })
}

#[test]
fn sigkill_ends_everything_that_the_demo_started() -> Result<()> {
    end(Process::kill)
}

#[test]
fn sigterm_ends_everything_that_the_demo_started() -> Result<()> {
    end(|demo| {
        let status = demo.terminate()?;
        ensure!(status.code() == Some(143), "{status}");
        Ok(())
    })
}

#[test]
fn a_port_that_is_taken_is_told() -> Result<()> {
    Scene::play(|scene| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = taken.local_addr()?.port().to_string();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(["--once", "--port", &port, "--folder"])
            .arg(scene.folder().join("demo"))
            .output()
            .context("cannot run the demo")?;
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("port {port} is not free")), "{text}");
        Ok(())
    })
}
