//! `spillway top` before two Envoys under load, on a terminal and in a pipe.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use spillway_tests::artifacts;
use spillway_tests::envoy::Envoy;
use spillway_tests::load::Running;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::terminal::Terminal;
use spillway_tests::wait;

use crate::text::care;
use crate::world::{TO_ALPHA, World};

/// Every request but five a second is rejected; nobody has five requests in flight.
const LIMITS: &str = "\
rateLimits:
- {name: total, rate: 5/s, burst: 5}
concurrency:
- {name: few, max: 100}
circuitBreakers:
- {name: failing, window: 10s, minRequests: 20, trip: {errorRatio: 50%}, openFor: 1s, probes: 1}
";

/// Two Envoys of a fleet, and requests that never end.
struct Busy {
    load: Running,
    second: Envoy,
    _admin: Port,
    world: World,
}

impl Busy {
    fn start(scene: &Scene) -> Result<Self> {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(LIMITS))])?;
        let (admin, bootstrap) = (Port::free()?, scene.folder().join("second.yaml"));
        world.control_plane.bootstrap("edge", &admin, &bootstrap, &["--node", "second"])?;
        let second = Envoy::start(&world.client, &bootstrap, &admin, 1, &scene.log("second"))?;
        // Each request on a connection of its own, so that both Envoys get some.
        let load = world.steady("/").header("connection", "close").start(&world.client.reconnected()?)?;
        Ok(Self { load, second, _admin: admin, world })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(artifacts::spillway()?);
        command.args(["top", "--server", &format!("http://{}", self.world.control_plane.admin())]);
        for admin in [self.world.envoy.admin(), self.second.admin()] {
            command.args(["--metrics", &format!("http://{admin}")]);
        }
        command.args(["--interval", "500ms"]).args(arguments).env("TERM", "xterm").env_remove("NO_COLOR");
        Ok(command)
    }

    fn run(&mut self, arguments: &[&str]) -> Result<Output> {
        self.load.going_on()?;
        self.command(arguments)?.output().context("cannot run spillway")
    }
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned())
}

/// What stands somewhere in the picture; nothing if there is no such place.
fn at<'a>(picture: &'a Value, place: &str) -> &'a Value {
    picture.pointer(place).unwrap_or(&Value::Null)
}

/// A number somewhere in the picture; one that is not known is none.
fn number(picture: &Value, place: &str) -> f64 {
    at(picture, place).as_f64().unwrap_or(0.0)
}

/// Waits for the line of the screen that begins like this and has a number above nothing in this column.
fn until_more(terminal: &Terminal, begin: &str, column: usize) -> Result<()> {
    let more = |line: &str| {
        let word = line.split_whitespace().nth(column).unwrap_or_default();
        line.starts_with(begin) && word.parse::<f64>().is_ok_and(|number| number > 0.0)
    };
    terminal.until(&format!("a rate of {begin}"), |screen| screen.lines().any(more)).map(drop)
}

/// What a Prometheus knows of its two Envoys is shown too, with a rule that rejects.
pub(crate) fn shows_what_prometheus_knows(prometheus: &str, rule: &str) -> Result<()> {
    wait::until("what Prometheus knows", || {
        let source = format!("{prometheus}/federate");
        let mut command = Command::new(artifacts::spillway()?);
        // The control plane is of no interest here, and nobody is where it would be.
        command.args(["top", "-o", "json", "--interval", "1500ms", "--server", "http://127.0.0.1:9"]);
        let picture = json(&command.args(["--metrics", &source]).output()?)?;
        ensure!(at(&picture, "/sources/0/error").is_null() && *at(&picture, "/envoys") == 2, "{picture:#}");
        let rules = at(&picture, "/rules").as_array().context("no rules")?;
        let found = rules.iter().find(|found| *at(found, "/rule") == rule).context("no such rule")?;
        ensure!(number(found, "/rejected") > 0.0 && number(&picture, "/requests") > 0.0, "{picture:#}");
        Ok(())
    })
}

#[test]
fn in_a_pipe_it_shows_rates_once_and_who_does_not_answer() -> Result<()> {
    Scene::play(|scene| {
        let mut busy = Busy::start(scene)?;
        wait::until("rates", || {
            let output = busy.run(&["-o", "json"])?;
            let picture = json(&output)?;
            ensure!(output.status.code() == Some(0), "{picture:#}");
            ensure!(*at(&picture, "/fleets/0/proxies") == 2 && *at(&picture, "/envoys") == 2, "{picture:#}");
            ensure!(
                number(&picture, "/requests") > 0.0 && number(&picture, "/rejected") > 0.0,
                "{picture:#}"
            );
            let rules = at(&picture, "/rules").as_array().context("no rules")?;
            let total = rules.iter().find(|rule| *at(rule, "/rule") == "total").context("no such rule")?;
            ensure!(number(total, "/rejected") > 0.0, "{total:#}");
            let few = rules.iter().find(|rule| *at(rule, "/rule") == "few").context("no such rule")?;
            ensure!(*at(few, "/limit") == 100.0 && at(few, "/inFlight").as_f64().is_some(), "{few:#}");
            let routes = at(&picture, "/routes").as_array().context("no routes")?;
            let alpha =
                routes.iter().find(|backend| *at(backend, "/backend") == "alpha").context("no alpha")?;
            ensure!(*at(alpha, "/routes") == serde_json::json!(["site/all"]), "{alpha:#}");
            ensure!(number(alpha, "/requests") > 0.0 && number(alpha, "/statuses/2") > 0.0, "{alpha:#}");
            ensure!(at(alpha, "/p99").as_f64().is_some(), "{alpha:#}");
            let breaker = at(&picture, "/breakers/0");
            ensure!(*at(breaker, "/rule") == "failing" && *at(breaker, "/open") == 0.0, "{breaker:#}");
            Ok(())
        })?;

        // As text the same, without anything that steers a terminal.
        let output = busy.run(&[])?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && !text.contains('\u{1b}'), "{text:?}");
        for part in
            ["2 Envoys: ", "\nFleets\nFLEET", "\nRoutes\nBACKEND", "\nRules\nPOLICY", "\nBreakers\nPOLICY"]
        {
            ensure!(text.contains(part), "{part:?} is not in\n{text}");
        }

        // One of them goes away: the other's figures are there, and it is said.
        busy.second.process().kill()?;
        let output = busy.run(&["-o", "json"])?;
        let picture = json(&output)?;
        assert_eq!(output.status.code(), Some(2), "{picture:#}");
        ensure!(*at(&picture, "/envoys") == 1, "{picture:#}");
        let away = format!("http://{}", busy.second.admin());
        ensure!(
            at(&picture, "/sources/0/error").is_null() && *at(&picture, "/sources/1/url") == away.as_str(),
            "{picture:#}"
        );
        ensure!(*at(&picture, "/sources/1/error") == "does not answer: Connection refused", "{picture:#}");
        let told = String::from_utf8(output.stderr)?;
        ensure!(told.starts_with(&format!("spillway: {away} does not answer: ")), "{told:?}");

        // So does the control plane.
        busy.world.control_plane.kill()?;
        let output = busy.run(&["-o", "json"])?;
        let picture = json(&output)?;
        assert_eq!(output.status.code(), Some(2), "{picture:#}");
        ensure!(at(&picture, "/server/error").is_string() && *at(&picture, "/envoys") == 1, "{picture:#}");

        // What is asked may be something else than metrics.
        let other = format!("http://{}/ready", busy.world.envoy.admin());
        let mut command = Command::new(artifacts::spillway()?);
        let output = command.args(["top", "--interval", "100ms", "--metrics", &other]).output()?;
        let told = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(2) && told.contains(&format!("{other} says something")),
            "{told:?}"
        );
        Ok(())
    })
}

#[test]
fn on_a_terminal_it_follows_until_it_is_left() -> Result<()> {
    Scene::play(|scene| {
        let mut busy = Busy::start(scene)?;
        let mut terminal = Terminal::start(&busy.command(&[])?, 30, 130)?;
        terminal.until("both proxies", |screen| {
            screen.lines().any(|line| line.split_whitespace().take(5).eq(["edge", "1", "2", "2", "0"]))
        })?;
        terminal.press("3")?;
        until_more(&terminal, "alpha", 1)?;
        terminal.press("\t")?;
        until_more(&terminal, "care    total", 3)?;
        terminal.press("/failing\r")?;
        terminal.until("the filter", |screen| screen.contains("failing") && !screen.contains("total"))?;
        terminal.press("\u{1b}")?;
        terminal.until("all rules", |screen| screen.contains("total"))?;

        // A smaller terminal is filled too: the keys stand in its last line.
        terminal.resize(12, 100)?;
        terminal.until("the last line", |screen| {
            screen.lines().nth(11).is_some_and(|line| line.starts_with("q quit"))
        })?;

        // An Envoy that goes away is told, and the rest goes on.
        busy.load.going_on()?;
        busy.second.process().kill()?;
        let away = format!("http://{} does not answer: ", busy.second.admin());
        terminal.until("who is away", |screen| screen.contains(&away) && screen.contains("1 Envoy: "))?;
        until_more(&terminal, "care    total", 3)?;

        // A control plane that comes back is asked again.
        let server = format!("http://{} does not answer: ", busy.world.control_plane.admin());
        busy.world.control_plane.kill()?;
        terminal.press("1")?;
        terminal.until("that the control plane is away", |screen| {
            screen.contains(&server) && screen.lines().any(|line| line.starts_with("edge"))
        })?;
        busy.world.control_plane.restart()?;
        terminal.until("the control plane", |screen| !screen.contains(&server))?;

        terminal.press("q")?;
        assert_eq!(terminal.ended()?.code(), Some(0));
        Ok(())
    })
}

#[test]
fn however_it_ends_the_terminal_is_as_it_was() -> Result<()> {
    // Nobody needs to answer for that.
    let command = || -> Result<Command> {
        let mut command = Command::new(artifacts::spillway()?);
        command.args(["top", "--server", "http://127.0.0.1:9", "--interval", "1s"]);
        command.env("TERM", "xterm").env_remove("SPILLWAY_METRICS");
        Ok(command)
    };
    let start = || -> Result<Terminal> {
        let terminal = Terminal::start(&command()?, 10, 80)?;
        terminal
            .until("the screen", |screen| screen.contains("q quit") && screen.contains("does not answer"))?;
        Ok(terminal)
    };
    let mut terminal = start()?;
    terminal.press("\u{3}")?;
    assert_eq!(terminal.ended()?.code(), Some(0));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut terminal = start()?;
        terminal.signal(signal)?;
        assert_eq!(terminal.ended()?.code(), Some(128 + signal.as_raw()));
    }
    // A terminal that can't be drawn on is written to once.
    let mut dumb = command()?;
    dumb.env("TERM", "dumb");
    let (status, shown) = spillway_tests::terminal::run(dumb)?;
    assert_eq!(status.code(), Some(2), "{shown}");
    ensure!(shown.contains("no metrics: name each Envoy") && !shown.contains('\u{1b}'), "{shown:?}");
    Ok(())
}

#[test]
fn flags_that_make_no_sense_are_refused() -> Result<()> {
    let refused = |arguments: &[&str], reason: &str| -> Result<()> {
        let output = Command::new(artifacts::spillway()?).arg("top").args(arguments).output()?;
        let told = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2) && told.contains(reason), "{arguments:?}: {told}");
        Ok(())
    };
    refused(&["--metrics", "127.0.0.1:9901"], "--metrics 127.0.0.1:9901: expected a URL such as")?;
    refused(&["--metrics", "http://a", "--metrics", "http://a"], "--metrics http://a is given twice")?;
    refused(&["--interval", "1ms"], "--interval 1ms: it is 100ms at least")?;
    Ok(())
}
