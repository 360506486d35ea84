//! `spillway check` and `spillway schema` as a user runs them.

#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const BACKEND: &str =
    "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {name: v1}\nspec: {endpoints: []}\n";

fn spillway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spillway")).args(arguments).output().unwrap()
}

fn check(dir: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = spillway(&[&["check", dir.to_str().unwrap()], more].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn valid_documents_are_counted_in_one_line() {
    let dir = directory(&[("a.yaml", BACKEND)]);
    let (code, output, errors) = check(dir.path(), &[]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let expected = format!(
        "{}: valid (0 Gateway, 0 Route, 1 Backend, 0 TrafficPolicy, 0 Certificate)\n",
        dir.path().display()
    );
    assert_eq!(output, expected);
    let (code, output, _) = check(dir.path(), &["-o", "json"]);
    let json: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((code, &json["valid"], &json["documents"]["Backend"]), (Some(0), &true.into(), &1.into()));
}

#[test]
fn every_error_of_every_file_is_shown_with_its_place() {
    let dir = directory(&[
        ("a.yaml", &BACKEND.replace("endpoints", "endpoint")),
        ("b.yaml", "a: [\n"),
        ("c.yaml", ""),
    ]);
    let (code, output, errors) = check(dir.path(), &[]);
    assert_eq!((code, output.as_str()), (Some(1), ""));
    let file = |name: &str| dir.path().join(name).display().to_string();
    for expected in [
        "error: unknown field `endpoint`\n".to_owned(),
        format!(" --> {}:4:8\n", file("a.yaml")),
        "4 | spec: {endpoint: []}\n  |        ^^^^^^^^\n".to_owned(),
        "  = document: Backend v1\n  = field: spec.endpoint\n  = help: did you mean `endpoints`?\n"
            .to_owned(),
        format!(" --> {}:2:1\n", file("b.yaml")),
        format!(" --> {}\n", file("c.yaml")),
        "\n3 errors\n".to_owned(),
    ] {
        assert!(errors.contains(&expected), "{expected}\nis not in\n{errors}");
    }
    let (code, output, _) = check(dir.path(), &["--output", "json"]);
    let json: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((code, &json["valid"]), (Some(1), &false.into()));
    let first = &json["errors"][0];
    assert_eq!(
        (&first["file"], &first["line"], &first["column"]),
        (&file("a.yaml").into(), &4.into(), &8.into())
    );
    assert_eq!((&first["field"], &first["document"]), (&"spec.endpoint".into(), &"Backend v1".into()));
    assert_eq!(json["errors"].as_array().unwrap().len(), 3);
}

#[test]
fn what_cannot_be_checked_is_one_line_and_another_exit_code() {
    let dir = directory(&[("a.yaml", BACKEND)]);
    for path in [dir.path().join("none"), dir.path().join("a.yaml")] {
        let (code, output, errors) = check(&path, &[]);
        assert_eq!((code, output.as_str(), errors.lines().count()), (Some(2), "", 1), "{errors}");
        assert!(errors.starts_with(&format!("spillway: {}: ", path.display())), "{errors}");
    }
    let empty = TempDir::new().unwrap();
    assert_eq!(check(empty.path(), &[]).0, Some(1));
}

#[test]
fn the_schema_is_json_and_the_reference_is_markdown() {
    let output = spillway(&["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["oneOf"].as_array().unwrap().len(), 5);
    let output = spillway(&["schema", "--markdown"]);
    assert!(output.stdout.starts_with(b"# Document reference\n"));
}
