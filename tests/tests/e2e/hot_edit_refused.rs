//! Edits that must not take effect, and what is said about them.

use std::fs::{self, File};
use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::world::{TO_ALPHA, World};

/// The control plane's log events so far.
fn events(world: &World) -> Vec<Value> {
    world.control_plane.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits for an event that has all of these fields.
fn reported(world: &World, from: usize, fields: &Value) -> Result<()> {
    let expected = fields.as_object().context("fields are an object")?;
    wait::until(&format!("the report of {fields}"), || {
        let events = events(world);
        let new = events.get(from..).unwrap_or_default();
        let found =
            new.iter().any(|event| expected.iter().all(|(name, value)| event.get(name) == Some(value)));
        ensure!(found, "reported was: {new:?}");
        Ok(())
    })
}

#[test]
fn a_bad_document_changes_nothing_and_is_reported_with_its_place() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let to_beta = TO_ALPHA.replace("name: alpha", "name: beta");
        let path = world.documents.path("routes.yaml");
        let file = |fields: Value| -> Result<Value> {
            let mut fields = fields;
            fields.as_object_mut().context("fields")?.insert("level".into(), "ERROR".into());
            Ok(fields)
        };
        let cases = [
            // What else the document says is right, and would be seen to take effect.
            (
                to_beta.replace("rules:", "ruels:"),
                serde_json::json!({"line": 6, "column": 3, "field": "spec.ruels"}),
            ),
            (
                to_beta.replace("name: beta", "name: beta, weight: -1"),
                serde_json::json!({"line": 8, "column": 42, "field": "spec.rules[0].backendRefs[0].weight"}),
            ),
            (
                to_beta.replace("name: beta", "name: nobody"),
                serde_json::json!({"line": 8, "column": 28, "field": "spec.rules[0].backendRefs[0].name"}),
            ),
            (format!("{to_beta}  bad: [\n"), serde_json::json!({})),
        ];
        for (text, place) in cases {
            let from = events(&world).len();
            world.documents.write("routes.yaml", &text)?;
            reported(&world, from, &file(place)?)?;
            let errors = events(&world);
            let named = errors.iter().skip(from).any(|e| {
                e.get("file")
                    .and_then(Value::as_str)
                    .is_some_and(|f| path.ends_with(f) || f.ends_with("routes.yaml"))
            });
            ensure!(named, "no event names the file {}", path.display());
            for _ in 0..20 {
                assert_eq!(
                    world.get("/", &[])?.header("x-upstream"),
                    Some("alpha"),
                    "a bad document took effect"
                );
            }
        }
        // And the next good one does.
        world.documents.write("routes.yaml", &to_beta)?;
        world.until("the good document", "/", |answer| answer.header("x-upstream") == Some("beta"))
    })
}

#[test]
fn a_half_written_file_never_takes_effect() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let mut load = world.steady("/").start(&world.client)?;
        let to_beta = TO_ALPHA.replace("name: alpha", "name: beta");
        // In place and by pieces, as careless programs write. The first piece alone is a whole file without any document, the second a
        // Route without rules; both would take the route away if they counted.
        let mut file = File::create(world.documents.path("routes.yaml"))?;
        let half = to_beta.find("  rules:").context("no rules")?;
        let (first, second) = to_beta.split_at(half);
        for piece in ["# a comment\n", first] {
            file.write_all(piece.as_bytes())?;
            file.sync_all()?;
            // Not a wait for something to happen, but time in which nothing may: some hundred requests.
            let from = load.answers();
            wait::until("requests meanwhile", || {
                load.going_on()?;
                ensure!(load.answers() >= from + 200);
                Ok(())
            })?;
            assert!(load.since(from).iter().all(|record| record.upstream() == Some("alpha")));
        }
        file.write_all(second.as_bytes())?;
        drop(file);
        world.until("the whole file", "/", |answer| answer.header("x-upstream") == Some("beta"))?;
        assert_eq!(load.finish()?.other_than(&[200]), [].into());
        Ok(())
    })
}

#[test]
fn a_directory_that_goes_away_for_a_while_takes_nothing_with_it() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let (here, away) = (world.documents.folder(), scene.folder().join("away"));
        let from = events(&world).len();
        fs::rename(here, &away)?;
        wait::until("the report", || {
            let events = events(&world);
            let new = events.get(from..).unwrap_or_default();
            ensure!(
                new.iter().any(|event| event.get("level") == Some(&"ERROR".into())),
                "reported was: {new:?}"
            );
            Ok(())
        })?;
        assert_eq!(world.get("/", &[])?.header("x-upstream"), Some("alpha"));
        let to_beta = TO_ALPHA.replace("name: alpha", "name: beta");
        fs::write(away.join("routes.yaml"), to_beta)?;
        fs::rename(&away, here)?;
        world.until("the directory that is back", "/", |answer| answer.header("x-upstream") == Some("beta"))
    })
}
