//! What commands show on a terminal, and what they don't elsewhere.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::control_plane::run;
use spillway_tests::scene::Scene;
use spillway_tests::{artifacts, terminal};

use crate::world::{TO_ALPHA, World};

const ESCAPE: char = '\u{1b}';

/// A client command of this world, to be run on a terminal.
fn command(world: &World, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(artifacts::spillway()?);
    command.args(arguments).args(["--server", &format!("http://{}", world.control_plane.admin())]);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    Ok(command)
}

#[test]
fn colours_and_bars_are_for_terminals() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let file = scene.folder().join("change.yaml");
        let path = file.to_str().context("a path that is not UTF-8")?;
        let mut ways = ["{name: beta}", "{name: alpha}"].into_iter().cycle();
        let mut apply = || -> Result<Command> {
            let way = ways.next().unwrap_or_default();
            std::fs::write(&file, TO_ALPHA.replace("{name: alpha}", way))?;
            command(&world, &["apply", "-f", path, "--wait"])
        };

        // A bar that is drawn anew in its place, and colours.
        let (status, shown) = terminal::run(apply()?)?;
        ensure!(status.success(), "{shown}");
        ensure!(shown.contains("\u{1b}[33m~ Route site\u{1b}[0m"), "{shown:?}");
        ensure!(shown.contains("\u{1b}[2Kedge  [\u{1b}[32m########################\u{1b}[0m"), "{shown:?}");
        ensure!(shown.contains("1 of 1 accepted"), "{shown:?}");

        // Bars without colours, where nobody wants them.
        let mut plain = apply()?;
        plain.env("NO_COLOR", "1");
        let (status, shown) = terminal::run(plain)?;
        ensure!(status.success() && shown.contains("~ Route site"), "{shown:?}");
        ensure!(shown.contains("\u{1b}[2Kedge  [########################]"), "{shown:?}");
        ensure!(!shown.contains("\u{1b}[3"), "{shown:?}");

        // Neither, where the terminal can do neither.
        let mut dumb = apply()?;
        dumb.env("TERM", "dumb");
        let (status, shown) = terminal::run(dumb)?;
        ensure!(status.success() && shown.contains("edge: 1 of 1 accepted"), "{shown:?}");
        ensure!(!shown.contains(ESCAPE), "{shown:?}");

        // And none in a pipe, whatever the terminal is.
        let output = apply()?.output()?;
        let shown = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(output.status.success() && shown.contains("edge: 1 of 1 accepted"), "{shown}");
        ensure!(!shown.contains(ESCAPE), "{shown:?}");
        Ok(())
    })
}

#[test]
fn what_proxies_and_documents_say_steers_no_terminal() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let file = scene.folder().join("change.yaml");
        std::fs::write(&file, TO_ALPHA.replace("name: site", "name: \"\\e[2J\\e]0;x\\a\""))?;
        let path = file.to_str().context("a path that is not UTF-8")?;
        let (status, shown) = terminal::run(command(&world, &["apply", "-f", path])?)?;
        assert_eq!(status.code(), Some(1), "{shown:?}");
        ensure!(!shown.contains("\u{1b}[2J") && !shown.contains("\u{1b}]0"), "{shown:?}");
        // A message is shown again in the history.
        let message = "\u{1b}[2Jgone";
        std::fs::write(&file, TO_ALPHA.replace("{name: alpha}", "{name: alpha, weight: 7}"))?;
        let (status, shown) = terminal::run(command(&world, &["apply", "-f", path, "-m", message])?)?;
        ensure!(status.success(), "{shown:?}");
        for arguments in [&["history"][..], &["history", "2"]] {
            let (_, shown) = terminal::run(command(&world, arguments)?)?;
            ensure!(shown.contains("gone") && !shown.contains("\u{1b}[2J"), "{shown:?}");
        }
        Ok(())
    })
}

#[test]
fn errors_in_documents_are_coloured_on_a_terminal_only() -> Result<()> {
    Scene::play(|scene| {
        std::fs::write(scene.folder().join("bad.yaml"), TO_ALPHA.replace("rules:", "ruels:"))?;
        let folder = scene.folder().to_str().context("a path that is not UTF-8")?;
        let output = run(&["check", folder])?;
        let piped = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(piped.contains("did you mean `rules`") && !piped.contains(ESCAPE), "{piped:?}");
        let mut check = Command::new(artifacts::spillway()?);
        check.args(["check", folder]).env("TERM", "xterm").env_remove("NO_COLOR");
        let (status, shown) = terminal::run(check)?;
        assert_eq!(status.code(), Some(1), "{shown:?}");
        ensure!(
            shown.contains("\u{1b}[31merror\u{1b}[0m: ") && shown.contains("\u{1b}[31m^^^^^\u{1b}[0m"),
            "{shown:?}"
        );
        ensure!(shown.contains("did you mean `rules`"), "{shown:?}");
        Ok(())
    })
}
