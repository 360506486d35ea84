//! Every exit code that the documentation promises, where no other test sees it.

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use spillway_tests::control_plane::run;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;

use crate::text::document;
use crate::world::{TO_ALPHA, World};

/// The exit code of a client command with everything that it printed.
fn code(world: &World, arguments: &[&str]) -> Result<(i32, String)> {
    let output = world.control_plane.command(arguments)?;
    let code = output.status.code().context("ended by a signal")?;
    Ok((code, String::from_utf8([output.stdout, output.stderr].concat())?))
}

/// That a client command ends so, and what it printed.
fn ends(world: &World, arguments: &[&str], expected: i32) -> Result<String> {
    let (code, shown) = code(world, arguments)?;
    ensure!(code == expected, "{arguments:?}: exit code {code} instead of {expected}\n{shown}");
    Ok(shown)
}

#[test]
fn waiting_tells_accepted_refused_and_late_apart() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let file = scene.folder().join("change.yaml");
        let path = file.to_str().context("a path that is not UTF-8")?.to_owned();
        let apply = ["apply", "-f", &path, "--wait"];

        std::fs::write(&file, TO_ALPHA.replace("{name: alpha}", "{name: beta}"))?;
        ends(&world, &apply, 0)?;

        // A documentation address (RFC 5737), which no machine has: a valid document that no Envoy can bind.
        let port = Port::free()?.number();
        let listener = format!("{{name: web, address: 192.0.2.1, port: {port}, protocol: HTTP}}");
        std::fs::write(
            &file,
            document("Gateway", "other", &format!("fleet: edge\nlisteners: [{listener}]")),
        )?;
        let shown = ends(&world, &apply, 3)?;
        ensure!(shown.contains("has refused a Listener") && shown.contains("Gateway other"), "{shown}");
        let shown = ends(&world, &["status"], 1)?;
        ensure!(shown.contains("refused"), "{shown}");
        // It is in force on the server all the same, and going back mends it.
        ends(&world, &["get", "Gateway", "other"], 0)?;
        ends(&world, &["rollback", "2", "--wait"], 0)?;
        ends(&world, &["status"], 0)?;

        // A proxy that is there and does not answer.
        let envoy = i32::try_from(world.envoy.process().id())?;
        let envoy = Pid::from_raw(envoy).context("no process")?;
        kill_process(envoy, Signal::STOP)?;
        std::fs::write(&file, TO_ALPHA)?;
        let late = code(&world, &["apply", "-f", &path, "--wait", "--timeout", "1500ms"]);
        kill_process(envoy, Signal::CONT)?;
        let (code, shown) = late?;
        ensure!(code == 4 && shown.contains("not every proxy has answered revision"), "{code}: {shown}");
        ensure!(shown.contains("0 of 1 accepted"), "{shown}");
        spillway_tests::wait::until("the proxy to follow", || ends(&world, &["status"], 0).map(drop))
    })
}

#[test]
fn questions_and_wrong_flags_have_codes_of_their_own() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let documents = world.documents.folder().to_str().context("a path that is not UTF-8")?.to_owned();
        let other = scene.folder().join("route.yaml");
        std::fs::write(&other, TO_ALPHA.replace("alpha", "beta"))?;
        let other = other.to_str().context("a path that is not UTF-8")?;

        // diff: nothing differs, something does, it could not be done.
        ends(&world, &["diff", &documents], 0)?;
        let shown = ends(&world, &["diff", other], 1)?;
        ensure!(shown.contains("fleet edge"), "{shown}");
        let bad = scene.folder().join("bad.yaml");
        std::fs::write(&bad, TO_ALPHA.replace("rules:", "ruels:"))?;
        let bad = bad.to_str().context("a path that is not UTF-8")?;
        ends(&world, &["diff", bad], 2)?;
        ends(&world, &["diff", "/nowhere"], 2)?;

        // What is named and is not there.
        for missing in [
            &["get", "Route", "nobody"][..],
            &["delete", "Route", "nobody"],
            &["history", "99"],
            &["rollback", "99"],
            // Others refer to it.
            &["delete", "Backend", "alpha"],
            &["apply", "-f", bad],
        ] {
            ends(&world, missing, 1)?;
        }
        // What nobody could do.
        for wrong in [
            &["get", "Ingress"][..],
            &["apply"],
            &["apply", "-f", "/nowhere"],
            &["rollback", "none"],
            &["rollback", "0"],
            &["history", "--limit", "0"],
            &["apply", "-f", other, "--wait", "--timeout", "soon"],
            &["status", "--colour"],
            &["nonsense"],
        ] {
            ends(&world, wrong, 2)?;
        }
        // Nothing of this has changed anything.
        let shown = ends(&world, &["history", "-o", "json"], 0)?;
        ensure!(
            serde_json::from_str::<serde_json::Value>(&shown)?.as_array().map(Vec::len) == Some(1),
            "{shown}"
        );
        Ok(())
    })
}

#[test]
fn serve_tells_wrong_documents_from_everything_else() -> Result<()> {
    Scene::play(|scene| {
        let folder = scene.folder().to_str().context("a path that is not UTF-8")?;
        let filter = spillway_tests::artifacts::filter()?;
        let filter = filter.to_str().context("a path that is not UTF-8")?;
        let serve = |more: &[&str]| -> Result<(Option<i32>, String)> {
            let flags = ["serve", "--config", folder, "--filter", filter];
            let output = run(&[&flags, more].concat())?;
            Ok((output.status.code(), String::from_utf8([output.stdout, output.stderr].concat())?))
        };
        let free = ["--xds", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        std::fs::write(scene.folder().join("bad.yaml"), "kind: Nothing\n")?;
        let (code, shown) = serve(&free)?;
        ensure!(code == Some(1) && shown.contains("bad.yaml"), "{code:?} {shown}");
        std::fs::write(scene.folder().join("bad.yaml"), document("Gateway", "edge", "fleet: edge"))?;
        let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let (code, shown) = serve(&["--xds", "127.0.0.1:0", "--admin", &address])?;
        ensure!(code == Some(2) && shown.contains("in use"), "{code:?} {shown}");
        let (code, shown) = serve(&["--xds", "nowhere"])?;
        ensure!(code == Some(2), "{code:?} {shown}");
        Ok(())
    })
}
