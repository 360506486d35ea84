//! The admin API, as programs use it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use spillway_tests::client::{Answer, Client};
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::python;
use spillway_tests::scene::Scene;

use crate::world::{TO_ALPHA, World};

pub(crate) const GATEWAY: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec: {fleet: edge, listeners: [{name: web, address: 127.0.0.1, port: 10000, protocol: HTTP}]}
";

pub(crate) const BACKEND: &str = "\
# Where alpha is.
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: alpha}
spec: {endpoints: [{address: 127.0.0.1, port: 8081}]}
";

/// What a request may be answered with. A right one may name what is not there (404), be about what somebody else has changed (409, 412) or
/// bring documents that are not valid (422): what a document may be is `spillway schema`'s to say, and whether its references lead anywhere
/// only the other documents tell. Of changes and comparisons 400 is right as well: schemathesis counts an empty `If-Match` and, as JSON Schema does,
/// `1.0` as right, which are refused.
///
/// In sequences of requests schemathesis puts what it was answered in the place of what it had made wrong, and then expects a refusal of a request
/// that is right; made wrong otherwise than in a sequence, each has to be refused.
const SCHEMATHESIS: &str = "\
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 414, 415, 422, 428, 429, \"5xx\"]
positive_data_acceptance.expected-statuses = [\"2xx\", 304, 404]

[[operations]]
include-operation-id = [\"putDocument\", \"deleteDocument\", \"apply\", \"diff\", \"rollback\"]
checks.positive_data_acceptance.expected-statuses = [\"2xx\", 400, 404, 409, 412, 422]

[phases.stateful]
checks.negative_data_rejection.enabled = false
";

/// A control plane with three documents and no proxies.
fn control_plane(scene: &Scene) -> Result<(Client, ControlPlane)> {
    let client = Client::new()?;
    let documents = Documents::empty(&scene.folder().join("documents"))?;
    for (name, text) in [("gateway.yaml", GATEWAY), ("backend.yaml", BACKEND), ("route.yaml", TO_ALPHA)] {
        documents.write(name, text)?;
    }
    let control_plane = ControlPlane::start(&client, documents.folder(), scene.folder())?;
    Ok((client, control_plane))
}

struct Api<'a> {
    client: &'a Client,
    base: String,
}

impl<'a> Api<'a> {
    fn new(client: &'a Client, control_plane: &ControlPlane) -> Self {
        Self { client, base: format!("http://{}", control_plane.admin()) }
    }

    fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let request = self.client.request(method, &format!("{}{path}", self.base)).body(body.to_owned());
        self.client.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
    }

    fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], "")
    }
}

/// That an answer is this problem, with everything that RFC 9457 and we promise.
fn problem(answer: &Answer, status: u16, kind: &str) -> Result<Value> {
    ensure!(answer.status == status, "{} {}", answer.status, answer.body);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body: Value = answer.json()?;
    assert_eq!(body.get("type"), Some(&json!(format!("urn:spillway:problem:{kind}"))), "{body}");
    assert_eq!(body.get("status"), Some(&json!(status)), "{body}");
    let id = answer.header("x-request-id").context("no id")?;
    assert_eq!(body.get("instance"), Some(&json!(format!("urn:spillway:request:{id}"))), "{body}");
    Ok(body)
}

#[test]
fn schemathesis_finds_nothing() -> Result<()> {
    let schemathesis = python::tool("schemathesis", "4.32.5", "schemathesis", "SCHEMATHESIS_BIN")?;
    Scene::play(|scene| {
        let (_client, mut control_plane) = control_plane(scene)?;
        let url = format!("http://{}/api/v1/openapi.json", control_plane.admin());
        let configuration = scene.folder().join("schemathesis.toml");
        std::fs::write(&configuration, SCHEMATHESIS)?;
        let output = Command::new(schemathesis)
            .arg("--config-file")
            .arg(configuration)
            .args(["run", &url, "--checks", "all", "--max-examples", "40", "--seed", "1"])
            // The stream of events has no end; it has tests of its own.
            .args(["--exclude-path", "/api/v1/events", "--request-timeout", "30", "--no-color"])
            .current_dir(scene.folder())
            .env("HYPOTHESIS_STORAGE_DIRECTORY", scene.folder().join("hypothesis"))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        control_plane.process()?.alive()
    })
}

#[test]
fn a_document_goes_in_as_it_comes_out_and_of_two_writers_one_is_refused() -> Result<()> {
    Scene::play(|scene| {
        let (client, control_plane) = control_plane(scene)?;
        let api = Api::new(&client, &control_plane);
        let path = "/api/v1/documents/Backend/alpha";
        let yaml = api.send(Method::GET, path, &[("accept", "application/yaml")], "")?;
        ensure!(yaml.body.contains("# Where alpha is."), "{}", yaml.body);
        let read = api.get(path)?;
        let tag = read.header("etag").context("no entity tag")?.to_owned();
        assert_eq!(api.send(Method::GET, path, &[("if-none-match", &tag)], "")?.status, 304);

        // Both have read the same; the first one to write wins, the other one is told.
        let written = |port: u16| read.body.replace("8081", &port.to_string());
        let put = |port, tag: &str| {
            let headers =
                [("if-match", tag), ("content-type", "application/json"), ("x-spillway-author", "ann")];
            api.send(Method::PUT, &format!("{path}?message=move"), &headers, &written(port))
        };
        let first = put(8082, &tag)?;
        ensure!(first.status == 200, "{}", first.body);
        let second = problem(&put(8083, &tag)?, 412, "conflict")?;
        let new = first.header("etag").context("no entity tag")?;
        assert_eq!(second.get("revision").map(|revision| format!("\"{revision}\"")).as_deref(), Some(new));
        ensure!(api.get(path)?.body.contains("8082"), "the first one's is not what is in force");

        let revision: Value = api.get(&format!("/api/v1/revisions/{}", new.trim_matches('"')))?.json()?;
        assert_eq!(revision.pointer("/author"), Some(&json!("ann")), "{revision}");
        assert_eq!(revision.pointer("/message"), Some(&json!("move")), "{revision}");
        assert_eq!(
            revision.pointer("/changes/0/fields/0/field"),
            Some(&json!("spec.endpoints[0].port")),
            "{revision}"
        );
        Ok(())
    })
}

#[test]
fn what_is_wrong_is_told_as_a_problem() -> Result<()> {
    Scene::play(|scene| {
        let (client, control_plane) = control_plane(scene)?;
        let api = Api::new(&client, &control_plane);
        let yaml = [("content-type", "application/yaml")];
        problem(&api.get("/nowhere")?, 404, "not-found")?;
        problem(&api.get("/api/v1/nowhere")?, 404, "not-found")?;
        problem(&api.get("/api/v1/documents/Ingress/x")?, 404, "not-found")?;
        problem(&api.get("/api/v1/documents/Route/%ff")?, 404, "not-found")?;
        problem(&api.get("/api/v1/documents?colour=red")?, 400, "invalid-request")?;
        problem(&api.get("/api/v1/revisions/99")?, 404, "not-found")?;
        problem(&api.get("/api/v1/revisions?before=4294967296")?, 400, "invalid-request")?;
        let wrong = api.send(Method::PATCH, "/api/v1/apply", &[], "")?;
        problem(&wrong, 405, "method-not-allowed")?;
        assert_eq!(wrong.header("allow"), Some("POST"));
        problem(
            &api.send(Method::POST, "/api/v1/apply", &[("content-type", "text/plain")], "x")?,
            415,
            "unsupported-media-type",
        )?;
        problem(
            &api.send(Method::POST, "/api/v1/rollback", &[("content-type", "application/json")], "{")?,
            400,
            "invalid-request",
        )?;
        problem(&api.send(Method::POST, "/api/v1/apply", &yaml, &" ".repeat(33 << 20))?, 413, "too-large")?;
        problem(
            &api.send(Method::GET, "/api/v1/documents", &[("host", "evil.example")], "")?,
            400,
            "invalid-request",
        )?;

        // Every error has its place, and nothing is changed.
        let bad = TO_ALPHA.replace("rules:", "ruels:");
        let body = problem(&api.send(Method::POST, "/api/v1/apply", &yaml, &bad)?, 422, "invalid-documents")?;
        let error = body.pointer("/errors/0").context("no errors")?;
        let part = |name: &str| error.get(name).cloned().unwrap_or_default();
        assert_eq!(
            (part("line"), part("column"), part("field")),
            (json!(6), json!(3), json!("spec.ruels")),
            "{error}"
        );
        ensure!(
            part("suggestion")
                .as_str()
                .or(part("message").as_str())
                .is_some_and(|text| text.contains("rules")),
            "{error}"
        );
        let list: Value = api.get("/api/v1/revisions")?.json()?;
        assert_eq!(list.get("revisions").and_then(Value::as_array).map(Vec::len), Some(1), "{list}");
        // One who takes a route's Backend away is told where it is missing.
        let body = problem(
            &api.send(Method::DELETE, "/api/v1/documents/Backend/alpha", &[], "")?,
            422,
            "invalid-documents",
        )?;
        assert_eq!(body.pointer("/errors/0/document"), Some(&json!("Route site")), "{body}");
        Ok(())
    })
}

#[test]
fn beyond_this_machine_a_token_is_asked_for() -> Result<()> {
    Scene::play(|scene| {
        let (client, mut control_plane) = control_plane(scene)?;
        let tokens = scene.folder().join("tokens");
        std::fs::write(&tokens, "ann 0123456789abcdef0123\n")?;
        let file = tokens.to_str().context("a path that is not UTF-8")?;
        control_plane.restart_with(&["--admin-token-file", file])?;
        let api = Api::new(&client, &control_plane);
        let path = "/api/v1/documents/Backend/alpha";
        let refused = api.get(path)?;
        problem(&refused, 401, "unauthorized")?;
        ensure!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        problem(
            &api.send(Method::GET, "/metrics", &[("authorization", "Bearer wrong")], "")?,
            401,
            "unauthorized",
        )?;
        assert_eq!(api.get("/healthz")?.status, 200);
        let token = [
            ("authorization", "Bearer 0123456789abcdef0123"),
            ("content-type", "application/yaml"),
            ("x-spillway-author", "eve"),
        ];
        assert_eq!(api.send(Method::GET, path, &token, "")?.status, 200);
        let put = api.send(Method::PUT, path, &token, &BACKEND.replace("8081", "8082"))?;
        ensure!(put.status == 200, "{}", put.body);
        // Whose token it is counts, not what the client says.
        let list: Value = api.send(Method::GET, "/api/v1/revisions?limit=1", &token, "")?.json()?;
        assert_eq!(list.pointer("/revisions/0/author"), Some(&json!("ann")), "{list}");
        // A new file counts at once.
        std::fs::write(&tokens, "bob 9876543210fedcba9876\n")?;
        assert_eq!(api.send(Method::GET, path, &token, "")?.status, 401);

        let filter = spillway_tests::artifacts::filter()?;
        let unprotected = spillway_tests::control_plane::run(&[
            "serve",
            "--filter",
            filter.to_str().context("a path that is not UTF-8")?,
            "--config",
            scene.folder().join("documents").to_str().context("path")?,
            "--xds",
            "127.0.0.1:0",
            "--admin",
            "0.0.0.0:0",
        ])?;
        let text = String::from_utf8_lossy(&unprotected.stderr).into_owned();
        assert_eq!(unprotected.status.code(), Some(2), "{text}");
        ensure!(text.contains("--admin-token-file"), "{text}");
        Ok(())
    })
}

/// The events of a stream, until one is what is looked for.
fn until(
    events: &mut impl Iterator<Item = Result<Value>>,
    mut found: impl FnMut(&Value) -> bool,
) -> Result<Vec<Value>> {
    let mut seen = Vec::new();
    for event in events {
        seen.push(event?);
        if seen.last().is_some_and(&mut found) {
            return Ok(seen);
        }
    }
    anyhow::bail!("the stream has ended after {seen:?}")
}

#[test]
fn events_tell_of_revisions_and_of_what_proxies_make_of_them() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let mut stream = TcpStream::connect(world.control_plane.admin())?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET /api/v1/events HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut events = BufReader::new(stream).lines().filter_map(|line| match line {
            Ok(line) => Some(serde_json::from_str::<Value>(line.strip_prefix("data: ")?).map_err(Into::into)),
            Err(error) => Some(Err(error.into())),
        });
        let of = |event: &Value, name: &str| event.get("event") == Some(&json!(name));
        // First what is.
        let first = until(&mut events, |event| of(event, "fleet"))?;
        assert_eq!(first.last().and_then(|event| event.get("fleet")), Some(&json!("edge")));
        // Then what happens: by hand in the directory here.
        world.documents.write("routes.yaml", &TO_ALPHA.replace("alpha", "beta"))?;
        let mut wanted = vec!["revision", "accepted", "fleet"];
        let seen = until(&mut events, |event| {
            wanted.retain(|name| {
                !of(event, name) || (*name == "fleet" && event.get("inForce") != Some(&json!(true)))
            });
            wanted.is_empty()
        })?;
        let revision = seen.iter().find(|event| of(event, "revision")).context("no revision")?;
        assert_eq!(revision.get("revision"), Some(&json!(2)), "{seen:?}");
        // The proxy goes away, and that is told too.
        let World { envoy, control_plane: _control_plane, .. } = world;
        drop(envoy);
        until(&mut events, |event| of(event, "disconnected"))?;
        Ok(())
    })
}

#[test]
fn metrics_are_counted() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let text = world.client.read(&format!("http://{}/metrics", world.control_plane.admin()))?.body;
        let value = |name: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            Ok(line.with_context(|| format!("no {name} in {text}"))?.parse()?)
        };
        assert!((value("spillway_revision")? - 1.0).abs() < f64::EPSILON);
        assert!((value("spillway_proxies{fleet=\"edge\"}")? - 1.0).abs() < f64::EPSILON);
        assert!((value("spillway_documents{kind=\"Backend\"}")? - 2.0).abs() < f64::EPSILON);
        for positive in [
            "spillway_snapshot_builds_total",
            "spillway_snapshot_build_seconds",
            "spillway_snapshot_bytes{fleet=\"edge\"}",
            "spillway_pushes_total{type=\"Listener\"}",
            "process_resident_memory_bytes",
            "process_open_fds",
        ] {
            assert!(value(positive)? > 0.0, "{positive}");
        }
        // The system counts in hundredths of a second, and a start may take less.
        assert!(value("process_cpu_seconds_total")? >= 0.0);
        assert!(value("spillway_refusals_total{type=\"Listener\"}")? < 1.0);
        Ok(())
    })
}
