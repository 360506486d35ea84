//! `spillway check` through the real binary: bad input is named with its place, and exit codes tell mistakes from failures.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::control_plane;
use spillway_tests::scene::Scene;

const BACKEND: &str = "\
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: alpha}
spec:
  endpoints: [{address: 127.0.0.1, port: 80}]
";

const ROUTE: &str = "\
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: site}
spec:
  parentRefs: [{name: edge}]
  rules:
    - {name: all, backendRefs: [{name: alpha, weight: 1}]}
";

const GATEWAY: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec: {fleet: edge, listeners: [{name: web, port: 10000, protocol: HTTP}]}
";

/// The exit code and everything that was printed.
fn check(folder: &Path) -> Result<(i32, String)> {
    let output = control_plane::run(&["check", folder.to_str().context("a path that is not UTF-8")?])?;
    let code = output.status.code().context("check was killed by a signal")?;
    Ok((code, String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
}

#[test]
fn the_demos_documents_are_valid() -> Result<()> {
    let (code, output) = check(&artifacts::workspace().join("demo/documents"))?;
    assert_eq!(code, 0, "{output}");
    Ok(())
}

#[test]
fn what_is_wrong_is_named_with_its_place() -> Result<()> {
    let good = format!("{GATEWAY}---\n{BACKEND}---\n{ROUTE}");
    // Each is the good file with one thing changed: what it was, what it is, and what the report must contain. The good file's
    // Gateway begins in line 1, the Backend in 6 and the Route in 12.
    let cases: [(&str, &str, &[&str]); 14] = [
        ("kind: Backend", "kind: Backent", &[":7:", "Backent", "kind"]),
        ("  endpoints:", "  endpionts:", &[":10:3", "spec.endpionts"]),
        ("port: 80", "port: 0", &[":10:", "spec.endpoints[0].port"]),
        ("port: 80", "port: eighty", &[":10:", "spec.endpoints[0].port"]),
        ("port: 80", "port: 65536", &[":10:", "spec.endpoints[0].port"]),
        ("weight: 1", "weight: -1", &[":18:55", "spec.rules[0].backendRefs[0].weight", "-1"]),
        (
            "backendRefs: [{name: alpha",
            "backendRefs: [{name: omega",
            &[":18:", "omega", "backendRefs[0].name"],
        ),
        ("parentRefs: [{name: edge}]", "parentRefs: [{name: edgy}]", &[":16:", "edgy", "parentRefs[0].name"]),
        ("metadata: {name: alpha}", "metadata: {name: Alpha_}", &[":8:", "metadata.name"]),
        ("fleet: edge,", "fleet: edge, fleet: core,", &[":4:", "fleet"]),
        (
            "  endpoints:",
            "  loadBalancing: {dynamicWeights: {signal: errors}}\n  endpoints:",
            &[":10:", "not available yet"],
        ),
        (
            "apiVersion: spillway.dev/v1\nkind: Backend",
            "apiVersion: spillway.dev/v2\nkind: Backend",
            &[":6:", "apiVersion"],
        ),
        ("protocol: HTTP}", "protocol: HTTPS}", &[":4:", "protocol"]),
        ("    - {name: all", "    - {name: [all", &[":19:", "not valid YAML"]),
    ];
    Scene::play(|scene| {
        let file = scene.folder().join("all.yaml");
        fs::write(&file, &good)?;
        let (code, output) = check(scene.folder())?;
        ensure!(code == 0, "the good file is refused:\n{output}");
        for (old, new, expected) in cases {
            ensure!(good.matches(old).count() == 1, "{old:?} is not in the good file once");
            fs::write(&file, good.replacen(old, new, 1))?;
            let (code, output) = check(scene.folder())?;
            ensure!(code == 1, "{new:?}: exit code {code}\n{output}");
            ensure!(output.contains("all.yaml"), "{new:?}: the file is not named\n{output}");
            for part in expected {
                ensure!(output.contains(part), "{new:?}: no {part:?} in\n{output}");
            }
        }
        Ok(())
    })
}

#[test]
fn all_mistakes_are_told_at_once() -> Result<()> {
    Scene::play(|scene| {
        fs::write(scene.folder().join("a.yaml"), BACKEND.replace("port: 80", "port: 0"))?;
        fs::write(scene.folder().join("b.yaml"), ROUTE.replace("weight: 1", "weight: -1"))?;
        let (code, output) = check(scene.folder())?;
        assert_eq!(code, 1);
        assert!(output.contains("a.yaml:5:") && output.contains("b.yaml:7:"), "{output}");
        Ok(())
    })
}

#[test]
fn the_same_name_twice_names_both_places() -> Result<()> {
    Scene::play(|scene| {
        fs::write(scene.folder().join("a.yaml"), BACKEND)?;
        fs::write(scene.folder().join("b.yaml"), BACKEND)?;
        let (code, output) = check(scene.folder())?;
        assert_eq!(code, 1);
        assert!(
            output.contains("a.yaml") && output.contains("b.yaml:3:") && output.contains("alpha"),
            "{output}"
        );
        Ok(())
    })
}

#[test]
fn files_that_are_no_documents_are_refused_quickly() -> Result<()> {
    let mut huge = String::with_capacity(10 << 20);
    while huge.len() < 10 << 20 {
        huge.push_str("# ten megabytes of nothing but comments\n");
    }
    let binary: Vec<u8> = (0..4_096_u32).map(|number| u8::try_from(number * 7 % 256).unwrap_or(0)).collect();
    let nested = "[".repeat(100_000);
    // YAML's own bomb: each line nine times the one before.
    let bomb: String = std::iter::once("a0: &a0 [x]\n".to_owned())
        .chain((1..12).map(|level| {
            let previous = format!("*a{}", level - 1);
            format!("a{level}: &a{level} [{}]\n", vec![previous; 9].join(", "))
        }))
        .collect();
    let cases: [(&str, &[u8]); 5] = [
        ("huge.yaml", huge.as_bytes()),
        ("binary.yaml", &binary),
        ("nested.yaml", nested.as_bytes()),
        ("bomb.yaml", bomb.as_bytes()),
        ("tabs.yml", b"apiVersion: spillway.dev/v1\n\tkind: Backend\n"),
    ];
    for (name, bytes) in cases {
        Scene::play(|scene| {
            fs::write(scene.folder().join(name), bytes)?;
            let (code, output) = check(scene.folder())?;
            ensure!(code == 1, "{name}: exit code {code}");
            ensure!(output.contains(name), "{name} is not named in:\n{output}");
            ensure!(output.len() < 4_000, "{} bytes of report about {name}", output.len());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn hidden_files_and_files_of_other_kinds_are_not_read() -> Result<()> {
    Scene::play(|scene| {
        fs::write(scene.folder().join("good.yaml"), BACKEND)?;
        fs::write(scene.folder().join(".hidden.yaml"), "neither: read\n")?;
        fs::write(scene.folder().join("notes.txt"), "nor this")?;
        let (code, output) = check(scene.folder())?;
        assert_eq!(code, 0, "{output}");
        Ok(())
    })
}

#[test]
fn an_empty_file_is_named() -> Result<()> {
    Scene::play(|scene| {
        fs::write(scene.folder().join("good.yaml"), BACKEND)?;
        // A tool that truncates before it writes leaves such files; taken as no documents, they would take routes away.
        for text in ["", "\n", "# all of it commented out\n", "---\n"] {
            fs::write(scene.folder().join("empty.yaml"), text)?;
            let (code, output) = check(scene.folder())?;
            ensure!(code == 1 && output.contains("empty.yaml"), "{text:?}: exit code {code}\n{output}");
        }
        Ok(())
    })
}

#[test]
fn a_directory_that_cannot_be_read_is_a_failure_and_not_a_mistake() -> Result<()> {
    Scene::play(|scene| {
        let (code, output) = check(&scene.folder().join("missing"))?;
        assert_eq!(code, 2, "{output}");
        assert_eq!(output.matches("No such file").count(), 1, "{output}");
        assert_eq!(output.lines().count(), 1, "{output}");
        assert!(output.starts_with("spillway: "), "{output}");

        let file = scene.folder().join("file");
        fs::write(&file, "")?;
        assert_eq!(check(&file)?.0, 2);

        let locked = scene.folder().join("locked");
        fs::create_dir(&locked)?;
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000))?;
        // Root reads everything; then there is nothing to refuse.
        if fs::read_dir(&locked).is_err() {
            assert_eq!(check(&locked)?.0, 2);
        }
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o755))?;
        Ok(())
    })
}
