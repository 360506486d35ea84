//! The client commands, as a user runs them.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::client::Client;
use spillway_tests::control_plane::run;
use spillway_tests::documents::Documents;
use spillway_tests::ports::Port;
use spillway_tests::process::Process;
use spillway_tests::scene::Scene;
use spillway_tests::{artifacts, wait};

use crate::api::{BACKEND, GATEWAY};
use crate::world::{TO_ALPHA, World};

/// A limit that hardly anything passes, or nearly everything.
fn policy(rate: &str) -> String {
    format!(
        "\
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {{name: fair}}
spec:
  targetRefs: [{{kind: Route, name: site}}]
  rateLimits:
    - {{name: total, rate: {rate}, burst: 1}}
"
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// That a command ended with this code, and what it printed on both streams.
fn ended(output: &Output, code: i32) -> Result<(String, String)> {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.code() == Some(code), "{:?} instead of {code}\n{out}{error}", output.status);
    Ok((out, error))
}

/// How many of some requests in quick succession are admitted.
fn admitted(world: &World) -> Result<usize> {
    let mut admitted = 0;
    for _ in 0..20 {
        admitted += usize::from(world.get("/", &[])?.status == 200);
    }
    Ok(admitted)
}

#[test]
fn apply_brings_a_limit_into_force_and_rollback_takes_it_back() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy("100000/s"))])?;
        assert_eq!(admitted(&world)?, 20);
        let file = scene.folder().join("strict.yaml");
        std::fs::write(&file, policy("1/h"))?;
        let file = file.to_str().context("a path that is not UTF-8")?;

        // First what would happen.
        let (out, _) = ended(&world.control_plane.command(&["diff", file])?, 1)?;
        ensure!(out.contains("fleet edge") && out.contains("spillway/edge"), "{out}");
        let (out, _) = ended(&world.control_plane.command(&["apply", "-f", file, "--dry-run"])?, 0)?;
        ensure!(out.contains("~ TrafficPolicy fair") && out.contains("\"100000/s\" -> \"1/h\""), "{out}");
        assert_eq!(admitted(&world)?, 20);

        // When it returns the proxy has accepted it.
        let (out, error) =
            ended(&world.control_plane.command(&["apply", "-f", file, "--wait", "-m", "strict"])?, 0)?;
        ensure!(out.ends_with("revision 2\n"), "{out}");
        ensure!(error.contains("revision 2: edge: 1 of 1 accepted"), "{error}");
        ensure!(!out.contains('\u{1b}') && !error.contains('\u{1b}'), "colours in a pipe");
        wait::until("the limit to be in force", || {
            let admitted = admitted(&world)?;
            ensure!(admitted <= 1, "{admitted} of 20 are admitted");
            Ok(())
        })?;

        let (out, _) = ended(&world.control_plane.command(&["history", "-o", "json"])?, 0)?;
        let history: Value = serde_json::from_str(&out)?;
        assert_eq!(history.pointer("/0/message"), Some(&"strict".into()), "{history}");
        let (out, _) = ended(&world.control_plane.command(&["diff", "--from", "1", "--to", "2"])?, 1)?;
        ensure!(out.contains("fleet edge"), "{out}");

        let (out, _) = ended(&world.control_plane.command(&["rollback", "1", "--wait"])?, 0)?;
        ensure!(out.ends_with("revision 3\n"), "{out}");
        // All workers follow within milliseconds of the acceptance; the bucket of the old limit admits one request an hour.
        wait::until("the limit to be gone", || {
            let admitted = admitted(&world)?;
            ensure!(admitted == 20, "{admitted} of 20 are admitted");
            Ok(())
        })?;
        ensure!(
            world.documents.read("policy.yaml")?.contains("100000/s"),
            "the directory is not what it was"
        );
        ended(&world.control_plane.command(&["diff", "--from", "1", "--to", "3"])?, 0)?;
        Ok(())
    })
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let bad = scene.folder().join("bad.yaml");
        std::fs::write(&bad, TO_ALPHA.replace("rules:", "ruels:"))?;
        let file = bad.to_str().context("a path that is not UTF-8")?;
        let (_, error) = ended(&world.control_plane.command(&["apply", "-f", file])?, 1)?;
        ensure!(error.contains(&format!("{file}:6:3")) && error.contains("spec.ruels"), "{error}");
        ensure!(error.contains("did you mean `rules`"), "{error}");
        let (_, error) = ended(&world.control_plane.command(&["delete", "Backend", "alpha"])?, 1)?;
        ensure!(error.contains("Route site"), "{error}");
        ended(&world.control_plane.command(&["get", "Route", "nobody"])?, 1)?;
        let (out, _) = ended(&world.control_plane.command(&["history", "-o", "json"])?, 0)?;
        let history: Value = serde_json::from_str(&out)?;
        assert_eq!(history.as_array().map(Vec::len), Some(1), "{history}");
        assert_eq!(world.get("/", &[])?.header("x-upstream"), Some("alpha"));

        // What is not used can go, and is gone from the directory too.
        let (out, _) = ended(&world.control_plane.command(&["delete", "backend", "beta", "--wait"])?, 0)?;
        ensure!(out.contains("- Backend beta"), "{out}");
        ensure!(!world.documents.read("base.yaml")?.contains("beta"), "beta still stands in the file");
        let (out, _) = ended(&world.control_plane.command(&["get", "backends", "-o", "yaml"])?, 0)?;
        ensure!(out.contains("alpha") && !out.contains("beta"), "{out}");
        Ok(())
    })
}

#[test]
fn trouble_is_one_line_and_exit_code_2() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let one_line = |output: &Output, expected: &str| -> Result<()> {
            let (_, error) = ended(output, 2)?;
            ensure!(error.lines().count() == 1 && error.contains(expected), "{error}");
            Ok(())
        };
        let folder = scene.folder();
        let file = folder.join("route.yaml");
        std::fs::write(&file, TO_ALPHA.replace("alpha", "beta"))?;
        let file = file.to_str().context("a path that is not UTF-8")?;

        let (right, wrong) = (folder.join("right"), folder.join("wrong"));
        std::fs::write(&right, "ann 0123456789abcdef\n")?;
        std::fs::write(&wrong, "fedcba9876543210\n")?;
        let (right, wrong) = (right.to_str().context("path")?, wrong.to_str().context("path")?);
        world.control_plane.restart_with(&["--admin-token-file", right])?;
        one_line(&world.control_plane.command(&["get"])?, "--token-file")?;
        one_line(&world.control_plane.command(&["get", "--token-file", wrong])?, "does not know this token")?;
        ended(&world.control_plane.command(&["get", "--token-file", right])?, 0)?;

        // Not this API, but something that answers.
        let envoy = world.url("");
        one_line(&run(&["get", "--server", &envoy])?, "is no Spillway admin address")?;

        world.control_plane.kill()?;
        one_line(
            &world.control_plane.command(&["apply", "-f", file])?,
            "does not answer: Connection refused",
        )?;
        Ok(())
    })
}

#[test]
fn a_directory_that_cannot_be_written_says_so() -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let documents = Documents::empty(&scene.folder().join("documents"))?;
        documents.write("gateway.yaml", GATEWAY)?;
        let (xds, admin) = (Port::free()?, Port::free()?);
        // Somebody else's copies, below folders that whoever serves may enter.
        let (program, filter) = (scene.folder().join("spillway"), scene.folder().join("filter.wasm"));
        std::fs::copy(artifacts::spillway()?, &program)?;
        std::fs::copy(artifacts::filter()?, &filter)?;
        let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
        mode(scene.folder(), 0o755)?;
        mode(documents.folder(), 0o555)?;
        let (xds, url) = (xds.address().to_string(), format!("http://{}", admin.address()));
        let admin = admin.address().to_string();
        // The superuser may write everywhere, so that one has somebody else serve.
        let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let nobody = nobody.iter().chain(&["--pdeathsig", "KILL", "--"]).map(OsStr::new);
        let line: Vec<&OsStr> = nobody
            .filter(|_| rustix::process::geteuid().is_root())
            .chain([program.as_os_str(), "serve".as_ref(), "--config".as_ref(), documents.folder().as_ref()])
            .chain(["--xds", &xds, "--admin", &admin, "--filter"].map(OsStr::new))
            .chain([filter.as_os_str()])
            .collect();
        let (first, rest) = line.split_first().context("no program")?;
        let mut serve = Process::start("serve", Path::new(first), rest, &scene.log("serve"))?;
        wait::until("the control plane to be ready", || {
            serve.alive()?;
            client.read(&format!("{url}/readyz")).map(drop)
        })?;
        let apply = |text: &str| -> Result<Output> {
            let file = scene.folder().join("change.yaml");
            std::fs::write(&file, text)?;
            run(&["apply", "-f", file.to_str().context("path")?, "--server", &url])
        };
        let refused = [apply(BACKEND)?, apply(&GATEWAY.replace("10000", "10001"))?];
        mode(documents.folder(), 0o755)?;
        for output in refused {
            let (_, error) = ended(&output, 2)?;
            ensure!(error.lines().count() == 1 && error.contains("read-only"), "{error}");
        }
        assert_eq!(documents.read("gateway.yaml")?, GATEWAY);
        let (out, _) = ended(&run(&["history", "-o", "json", "--server", &url])?, 0)?;
        let history: Value = serde_json::from_str(&out)?;
        assert_eq!(history.as_array().map(Vec::len), Some(1), "{history}");
        Ok(())
    })
}

#[test]
fn killed_while_it_applies_it_comes_back_with_all_or_nothing() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy("100/s"))])?;
        let mut acknowledged = 1;
        for round in 0..6_u32 {
            // Two documents that belong together, in two files of the directory.
            let change = format!(
                "{}---\n{}",
                policy(&format!("{}/s", 1_000 + round)),
                TO_ALPHA.replace("name: alpha", &format!("name: alpha, weight: {}", 10 + round))
            );
            let file = scene.folder().join("change.yaml");
            std::fs::write(&file, &change)?;
            let file = file.to_str().context("a path that is not UTF-8")?.to_owned();
            let url = format!("http://{}", world.control_plane.admin());
            let applying =
                std::thread::spawn(move || run(&["apply", "-f", &file, "--server", &url, "-o", "json"]));
            // At another moment in each round: before, while and after it writes.
            std::thread::sleep(std::time::Duration::from_millis(u64::from(round) * 7));
            world.control_plane.kill()?;
            let output = applying.join().map_err(|_| anyhow::anyhow!("the command panicked"))??;
            world.control_plane.restart()?;
            let got = |kind: &str, name: &str| -> Result<String> {
                Ok(ended(&world.control_plane.command(&["get", kind, name, "-o", "yaml"])?, 0)?.0)
            };
            let new = [
                got("TrafficPolicy", "fair")?.contains(&format!("rate: {}/s", 1_000 + round)),
                got("Route", "site")?.contains(&format!("weight: {}", 10 + round)),
            ];
            ensure!(new[0] == new[1], "round {round}: half of the change is there");
            if output.status.success() {
                ensure!(new[0], "round {round}: the change was acknowledged and is gone");
                let applied: Value = serde_json::from_slice(&output.stdout)?;
                acknowledged = applied.get("revision").and_then(Value::as_u64).context("no revision")?;
            }
            let (history, _) = ended(&world.control_plane.command(&["history", "-o", "json"])?, 0)?;
            let history: Value = serde_json::from_str(&history)?;
            let newest = history.pointer("/0/number").and_then(Value::as_u64).context("no history")?;
            ensure!(newest >= acknowledged, "round {round}: revision {acknowledged} is forgotten: {newest}");
        }
        // And the proxy gets what is in force.
        wait::until("the proxy to have it", || ended(&world.control_plane.command(&["status"])?, 0).map(drop))
    })
}
