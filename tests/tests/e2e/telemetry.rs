//! OpenTelemetry: what the control plane tells a collector.

use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use spillway_tests::artifacts;
use spillway_tests::authority::Authority;
use spillway_tests::otlp::{Sink, Span};
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::tls_front::TlsFront;
use spillway_tests::wait;

use crate::text::document;
use crate::world::{TO_ALPHA, World};

const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// A world whose control plane is told by these variables where a collector is, and its Envoy is connected to it.
fn told(scene: &Scene, variables: &[(&str, &str)]) -> Result<World> {
    let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
    world.control_plane.restart_in(variables)?;
    wait::until("the proxy to be back", || {
        let status = world.control_plane.command(&["status", "-o", "json"])?;
        let status: Value = serde_json::from_slice(&status.stdout)?;
        ensure!(status.pointer("/0/proxies/0/inForce") == Some(&Value::Bool(true)), "{status:#}");
        Ok(())
    })?;
    Ok(world)
}

fn a_change_is_told(protocol: &str) -> Result<()> {
    Scene::play(|scene| {
        let sink = Sink::start()?;
        let endpoint = format!("http://{}", sink.address());
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=edge-control,deployment.environment=test"),
            ("OTEL_SERVICE_NAME", ""),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
        ];
        let mut world = told(scene, &variables)?;
        world.documents.edit("routes.yaml", &["{name: alpha}"], &["{name: beta}"])?;
        world.until("the edit", "/", |answer| answer.header("x-upstream") == Some("beta"))?;
        wait::until("the trace of the edit", || {
            let received = sink.received();
            let push = received.span("an accepted push of routes", |span| {
                span.name == "push"
                    && span.attributes.get("spillway.type_url").is_some_and(|url| url == ROUTES)
            })?;
            ensure!(push.events == ["ack"] && !push.failed, "{push:?}");
            ensure!(push.attributes.get("spillway.fleet").is_some_and(|fleet| fleet == "edge"), "{push:?}");
            let snapshot = received.span("its snapshot", |span| span.id == push.parent)?;
            let edit = received.span("its edit", |span| span.id == snapshot.parent)?;
            let revision =
                received.span("its revision", |span| span.name == "revision" && span.parent == edit.id)?;
            ensure!(
                (snapshot.name.as_str(), edit.name.as_str()) == ("snapshot", "edit"),
                "{snapshot:?} {edit:?}"
            );
            ensure!(edit.parent.is_empty() && edit.service == "edge-control", "{edit:?}");
            ensure!([push, snapshot, revision].iter().all(|span| span.trace == edit.trace), "other traces");
            ensure!(edit.took >= revision.took, "{edit:?} {revision:?}");
            let line =
                received.lines.iter().find(|line| line.text == "published" && line.trace == edit.trace);
            let line = line.with_context(|| format!("{:?}", received.lines))?;
            ensure!(line.attributes.get("revision") == edit.attributes.get("spillway.revision"), "{line:?}");
            Ok(())
        })?;
        wait::until("the metrics", || {
            let received = sink.received();
            for name in
                ["spillway_pushes_total", "spillway_ack_seconds", "spillway_streams", "process_threads"]
            {
                let points = received.metrics.get(name).with_context(|| format!("no {name}"))?;
                ensure!(points.iter().any(|(_, value)| *value > 0.0), "{name}: {points:?}");
            }
            let routes = |(labels, value): &(_, f64)| {
                let labels: &spillway_tests::otlp::Attributes = labels;
                labels.get("type").is_some_and(|label| label == "RouteConfiguration") && *value > 0.0
            };
            let pushes = received.metrics.get("spillway_ack_seconds").context("just seen")?;
            ensure!(pushes.iter().any(routes), "{pushes:?}");
            Ok(())
        })?;

        // A documentation address (RFC 5737), which no machine has: valid, and nothing that an Envoy could bind.
        let listeners = format!(
            "fleet: edge\nlisteners: [{{name: bad, address: 192.0.2.1, port: {}, protocol: HTTP}}]",
            Port::free()?.number()
        );
        world.documents.write("bad.yaml", &document("Gateway", "bad", &listeners))?;
        wait::until("the trace of a refusal", || {
            let received = sink.received();
            let push = received.span("a refused push of listeners", |span| {
                span.failed && span.attributes.get("spillway.type_url").is_some_and(|url| url == LISTENERS)
            })?;
            ensure!(push.events == ["nack"], "{push:?}");
            let refused = |text: &str| text == "the proxy refused a push";
            let line = received.lines.iter().find(|line| refused(&line.text));
            let line = line.with_context(|| format!("{:?}", received.lines))?;
            ensure!(line.trace == push.trace, "{line:?} {push:?}");
            for (of_line, of_push) in [("node", "spillway.node"), ("fleet", "spillway.fleet")] {
                let who = line.attributes.get(of_line).with_context(|| format!("{line:?}"))?;
                ensure!(push.attributes.get(of_push) == Some(who), "{line:?} {push:?}");
            }
            Ok(())
        })?;

        // Whatever reads figures for the collector holds nothing up at the end.
        let status = world.control_plane.process()?.terminate()?;
        ensure!(
            status.success() && !world.control_plane.output().contains("did not end in time"),
            "{status}"
        );
        Ok(())
    })
}

#[test]
fn a_change_is_one_trace_with_metrics_and_logs_over_grpc() -> Result<()> {
    a_change_is_told("grpc")
}

#[test]
fn a_change_is_one_trace_with_metrics_and_logs_over_http() -> Result<()> {
    a_change_is_told("http/protobuf")
}

#[test]
fn the_last_figures_and_lines_arrive_although_nobody_takes_the_traces() -> Result<()> {
    Scene::play(|scene| {
        let sink = Sink::start()?;
        // Connections to it are made, and nobody answers.
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", sink.address());
        let traces = format!("http://{}/v1/traces", silent.local_addr()?);
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "3600000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
        ];
        let mut world = told(scene, &variables)?;
        world.documents.edit("routes.yaml", &["{name: alpha}"], &["{name: beta}"])?;
        world.until("the edit", "/", |answer| answer.header("x-upstream") == Some("beta"))?;
        ensure!(sink.received().metrics.is_empty(), "too early");

        let status = world.control_plane.process()?.terminate()?;
        let output = world.control_plane.output();
        ensure!(status.success() && output.contains("the last telemetry was not delivered"), "{status}");
        let received = sink.received();
        for name in ["spillway_snapshot_resources", "spillway_pushes_total", "spillway_ack_seconds"] {
            let points = received.metrics.get(name).with_context(|| format!("no {name}"))?;
            ensure!(points.iter().any(|(_, value)| *value > 0.0), "{name}: {points:?}");
        }
        ensure!(received.lines.iter().any(|line| line.text == "stopping"), "{:?}", received.lines);
        Ok(())
    })
}

/// Whose edits they are.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn to(backend: &str) -> String {
    TO_ALPHA.replace("{name: alpha}", &format!("{{name: {backend}}}"))
}

/// Waits for so many edits of a kind; more would be wrong.
fn edits(sink: &Sink, what: &str, expected: usize, wanted: impl Fn(&Span) -> bool) -> Result<Vec<Span>> {
    let found = || -> Vec<_> {
        let is_wanted = |span: &&Span| span.name == "edit" && wanted(span);
        sink.received().spans.iter().filter(is_wanted).cloned().collect()
    };
    wait::until(what, || {
        let found = found();
        ensure!(found.len() == expected, "{found:?}");
        Ok(())
    })?;
    Ok(found())
}

#[test]
fn an_edit_by_the_api_is_part_of_its_callers_trace() -> Result<()> {
    Scene::play(|scene| {
        let sink = Sink::start()?;
        let endpoint = format!("http://{}", sink.address());
        let mut variables =
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
        let mut world = told(scene, &variables)?;
        let send =
            |world: &World, method: Method, path: &str, body: String, media_type: &str, flags: &str| {
                let url = format!("http://{}/api/v1/{path}", world.control_plane.admin());
                let request =
                    world.client.request(method, &url).body(body).header("content-type", media_type);
                let answer = world.client.send(request.header("traceparent", traceparent(flags)))?;
                ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.body);
                Ok(())
            };
        let (yaml, json) = ("application/yaml", "application/json");
        let is_part = |span: &Span| span.trace == TRACE;
        send(&world, Method::PUT, "documents/Route/site", to("beta"), yaml, "01")?;
        edits(&sink, "the first edit", 1, is_part)?;
        send(&world, Method::POST, "rollback", r#"{"to": 1}"#.to_owned(), json, "01")?;
        edits(&sink, "the way back", 2, is_part)?;
        send(&world, Method::POST, "apply", to("beta"), yaml, "01")?;
        for edit in edits(&sink, "the third edit", 3, is_part)? {
            assert_eq!((edit.parent.as_str(), edit.service.as_str()), (PARENT, "spillway"), "{edit:?}");
        }
        // The caller has decided against it: that does not keep the edit from being known.
        let is_linked = |span: &Span| span.links == [(TRACE.to_owned(), PARENT.to_owned())];
        send(&world, Method::PUT, "documents/Route/site", to("alpha"), yaml, "00")?;
        let own = edits(&sink, "a trace with a link", 1, is_linked)?;
        assert!(own.iter().all(|edit| edit.parent.is_empty() && edit.trace != TRACE), "{own:?}");
        // An edit by hand has to do with nothing.
        let is_alone = |span: &Span| span.parent.is_empty() && span.links.is_empty();
        world.documents.write("routes.yaml", &to("beta"))?;
        edits(&sink, "an edit by hand", 1, is_alone)?;

        // Unless somebody has chosen who decides.
        variables.push(("OTEL_TRACES_SAMPLER", "parentbased_always_on"));
        world.control_plane.restart_in(&variables)?;
        send(&world, Method::PUT, "documents/Route/site", to("alpha"), yaml, "00")?;
        world.until("that edit", "/", |answer| answer.header("x-upstream") == Some("alpha"))?;
        world.documents.write("routes.yaml", &to("beta"))?;
        edits(&sink, "a later edit by hand", 2, is_alone)?;
        edits(&sink, "what there was", 1, is_linked)?;
        edits(&sink, "what there was", 3, is_part)?;
        Ok(())
    })
}

#[test]
fn a_command_that_changes_something_is_part_of_the_trace_that_its_environment_names() -> Result<()> {
    Scene::play(|scene| {
        let sink = Sink::start()?;
        let endpoint = format!("http://{}", sink.address());
        let variables =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
        let world = told(scene, &variables)?;
        let file = scene.folder().join("more.yaml");
        std::fs::write(&file, document("Backend", "more", "endpoints: []"))?;
        let file = file.to_str().context("a path in UTF-8")?;
        let run = |traceparent: &str, arguments: &[&str]| {
            let mut command = Command::new(artifacts::spillway()?);
            command.args(arguments).args(["--server", &format!("http://{}", world.control_plane.admin())]);
            let output = command.env("TRACEPARENT", traceparent).output()?;
            ensure!(output.status.success(), "{arguments:?}: {output:?}");
            Ok(())
        };
        let is_part = |span: &Span| span.trace == TRACE && span.parent == PARENT;
        let commands: [&[&str]; 3] =
            [&["apply", "-f", file], &["delete", "Backend", "more"], &["rollback", "2"]];
        for (number, arguments) in (1..).zip(commands) {
            run(&traceparent("01"), arguments)?;
            edits(&sink, "the edit of a command", number, is_part)?;
        }
        sink.received().span("what apply has written", |span| {
            let document = span.attributes.get("spillway.document");
            span.name == "document" && document.is_some_and(|document| document == "Backend/more")
        })?;
        // What is none is not an error either.
        run(&format!("{}\n", traceparent("01")), &["rollback", "1"])?;
        edits(&sink, "an edit that is part of nothing", 1, |span| span.parent.is_empty())?;
        edits(&sink, "what there was", 3, is_part)?;
        Ok(())
    })
}

#[test]
fn a_collector_behind_tls_has_to_prove_who_it_is() -> Result<()> {
    Scene::play(|scene| {
        let sink = Sink::start()?;
        let ours = Authority::new(&scene.folder().join("ours"))?;
        let others = Authority::new(&scene.folder().join("others"))?;
        let front = TlsFront::start(&ours, sink.address())?;
        let url = front.url();
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let (mut here, mut there) = ("alpha", "beta");
        for protocol in ["http/protobuf", "grpc"] {
            for (authority, is_trusted) in [(&others, false), (&ours, true)] {
                let certificate = authority.path("ca.crt")?;
                let variables = [
                    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url.as_str()),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                    ("OTEL_EXPORTER_OTLP_CERTIFICATE", &certificate),
                    ("OTEL_BSP_SCHEDULE_DELAY", "100"),
                ];
                let traces = format!("{url}/v1/traces");
                let of_signal = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", traces.as_str());
                let mut variables = Vec::from(variables);
                if protocol == "http/protobuf" {
                    // That of a signal is used as it is.
                    variables.push(of_signal);
                }
                // Until then, what the one before has sent may still arrive.
                world.control_plane.restart_in(&variables)?;
                sink.received().spans.clear();
                world.documents.edit(
                    "routes.yaml",
                    &[&format!("{{name: {here}}}")],
                    &[&format!("{{name: {there}}}")],
                )?;
                world.until("the edit", "/", |answer| answer.header("x-upstream") == Some(there))?;
                (here, there) = (there, here);
                if is_trusted {
                    wait::until("its trace", || {
                        sink.received().span("an edit", |span| span.name == "edit").map(drop)
                    })?;
                } else {
                    // What waits is tried once more at the end.
                    world.control_plane.process()?.terminate()?;
                    assert_eq!(sink.received().spans.len(), 0, "{protocol}");
                }
            }
        }
        Ok(())
    })
}
