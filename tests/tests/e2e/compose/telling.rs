//! From an alert to the edit: one request that was rejected, followed through everything that tells of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use serde_json::Value;
use spillway_tests::client::Client;
use spillway_tests::otlp::{Sink, Span};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::dashboards::queries;
use super::stack::Stack;

const RULE: &str = "rate-limit/orders-protection/per-tenant";
const TENANT: &str = "followed";

/// Panels that are empty where nothing is wrong, or as long as there is no such thing.
const EMPTY: [&str; 3] = [
    "Spillway / Control plane: First certificate to expire",
    "Spillway / Limits and breakers: Decisions without the shared record",
    "Spillway / Limits and breakers: In shadow mode",
];

/// What Prometheus finds.
fn found(client: &Client, prometheus: &str, expression: &str) -> Result<Vec<Value>> {
    let url = Url::parse_with_params(&format!("{prometheus}/api/v1/query"), [("query", expression)])?;
    let answer = client.read(url.as_str())?;
    let answer: Value = answer.json()?;
    ensure!(answer.get("status") == Some(&"success".into()), "{expression}: {answer}");
    let result = answer.pointer("/data/result").and_then(Value::as_array).context("no result")?;
    Ok(result.clone())
}

/// Follows a link to a search of traces: the spans that it finds are those of a service, of a name where it gives one, with all of the tags.
fn follow(link: &str, sink: &Sink) -> Result<Span> {
    let link = Url::parse(link)?;
    let parameters: BTreeMap<_, _> = link.query_pairs().collect();
    let parameter = |name: &str| parameters.get(name).with_context(|| format!("no {name} in {link}"));
    let tags: BTreeMap<String, String> = serde_json::from_str(parameter("tags")?)?;
    let (service, operation) = (parameter("service")?, parameters.get("operation"));
    let received = sink.received();
    let found = received.span(link.as_str(), |span| {
        span.service == **service
            && operation.is_none_or(|name| span.name == **name)
            && tags.iter().all(|(tag, value)| span.attributes.get(tag) == Some(value))
    });
    found.cloned()
}

/// From an alert about a rule to a request and to an edit, by its links.
fn three_clicks(stack: &Stack, alert: &Value, [_, policy, rule]: &[&str; 3]) -> Result<()> {
    let follow = |annotation: &str| {
        let template = alert.pointer(&format!("/annotations/{annotation}")).and_then(Value::as_str);
        let template = template.with_context(|| format!("no {annotation} in {alert}"))?;
        let link = template.replace("{{ $labels.policy }}", policy).replace("{{ $labels.rule }}", rule);
        follow(&link, stack.collector()?)
    };
    follow("traces")?;
    stack.edit("protection.yaml", "rate: 10/s", "rate: 11/s")?;
    wait::until("the trace of an edit of the policy", || {
        let document = follow("edits")?;
        let received = stack.collector()?.received();
        let of_trace =
            |name: &str| received.span(name, |span| span.trace == document.trace && span.name == name);
        let edit = of_trace("edit")?;
        ensure!(document.parent == edit.id, "{document:?} {edit:?}");
        let revision = edit.attributes.get("spillway.revision");
        ensure!(revision.is_some() && revision == document.attributes.get("spillway.revision"), "{edit:?}");
        of_trace("push").map(drop)
    })
}

#[test]
fn a_rejected_request_is_found_in_everything_that_tells_of_it() -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let services =
            ["collector", "control-plane", "upstreams", "envoy-1", "envoy-2", "load", "prometheus"];
        let stack = Stack::start(scene, &services)?;
        let prometheus = format!("http://{}:9090", stack.address("prometheus")?);

        // The answer names the rule.
        let gateway = stack.gateway()?;
        let mut tries = 0;
        let (rejected, trace) = wait::until("a request to be rejected", || {
            tries += 1;
            // Few are recorded, and these are to be.
            let trace = format!("{tries:032x}");
            let parent = format!("00-{trace}-{tries:016x}-01");
            let headers = [("x-tenant-id", TENANT), ("traceparent", &parent)];
            let answer = client.get(&format!("{gateway}/orders/7"), &headers)?;
            ensure!(answer.status == 429, "{}", answer.status);
            Ok((answer, trace))
        })?;
        assert_eq!(rejected.header("x-spillway-rejected-by"), Some(RULE));

        // So does the access log of the Envoy that answered, with the key that it counted for.
        let line: Value = wait::until("its line in the access log", || {
            let logs = [stack.output("envoy-1")?, stack.output("envoy-2")?].concat();
            let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut ours = lines.filter(|line| line.get("trace_id") == Some(&trace.as_str().into()));
            ours.next().context("no such line")
        })?;
        assert_eq!(line.get("decision"), Some(&RULE.into()), "{line}");
        assert_eq!(line.get("route_key"), Some(&TENANT.into()), "{line}");
        assert_eq!(line.get("route"), Some(&"orders/api".into()), "{line}");

        // The log's trace has a span that names the parts of the rule.
        let span = wait::until("its span", || {
            let received = stack.collector()?.received();
            received.span("of the access log's trace", |span| span.trace == trace).cloned()
        })?;
        let tags = ["kind", "policy", "rule"].map(|part| {
            span.attributes.get(&format!("spillway.{part}")).map(String::as_str).unwrap_or_default()
        });
        assert_eq!(tags.join("/"), RULE, "{span:?}");
        assert_eq!(span.attributes.get("spillway.route_key").map(String::as_str), Some(TENANT));
        assert_eq!((span.service.as_str(), span.name.as_str()), ("edge", "orders/api"));

        // Prometheus has reached everybody, and counts it.
        wait::until("Prometheus to reach everything", || {
            let up = found(&client, &prometheus, "up == 1")?;
            ensure!(up.len() == 3, "{up:?}");
            Ok(())
        })?;
        wait::until("the rule's counter", || {
            let series = found(
                &client,
                &prometheus,
                "sum(spillway_rejected{kind=\"rate-limit\", policy=\"orders-protection\", rule=\"per-tenant\"}) > 0",
            )?;
            ensure!(series.len() == 1, "{series:?}");
            Ok(())
        })?;

        // Every panel of every dashboard shows something.
        let queries = queries()?;
        for query in &queries {
            let shown = wait::until(&query.panel, || {
                let shown = found(&client, &prometheus, &query.expression)?;
                ensure!(
                    !shown.is_empty() || EMPTY.contains(&query.panel.as_str()),
                    "{}: nothing for {}",
                    query.panel,
                    query.expression
                );
                Ok(shown)
            })?;
            if query.panel.ends_with(": Rejected by rule") {
                let ours = |series: &Value| {
                    let label = |name: &str| {
                        series.pointer(&format!("/metric/{name}")).and_then(Value::as_str).unwrap_or_default()
                    };
                    format!("{}/{}/{}", label("kind"), label("policy"), label("rule")) == RULE
                };
                ensure!(shown.iter().any(ours), "{}: {shown:?}", query.panel);
            }
        }

        // So does a terminal.
        crate::top::shows_what_prometheus_knows(&prometheus, "per-tenant")?;

        // The alerts are loaded, and none of them has an error.
        let rules: Value = client.read(&format!("{prometheus}/api/v1/rules"))?.json()?;
        let groups = rules.pointer("/data/groups").and_then(Value::as_array).context("no groups")?;
        let alerts: Vec<_> =
            groups.iter().filter_map(|group| group.get("rules")?.as_array()).flatten().collect();
        ensure!(
            alerts.len() > 10 && alerts.iter().all(|rule| rule.get("health") != Some(&"err".into())),
            "{rules:#}"
        );
        let alert = |rule: &&&Value| rule.get("name") == Some(&"SpillwayRejectsMany".into());
        let alert = alerts.iter().find(alert).context("no such alert")?;
        three_clicks(&stack, alert, &tags)?;

        // And the client sees what it should: most of one tenant rejected, nothing else lost.
        wait::until("the client's report", || {
            let said = stack.output("load")?;
            ensure!(said.contains(" 200 ") && said.contains(" 429 "), "{said}");
            ensure!(!said.contains("no answer"), "{said}");
            Ok(())
        })
    })
}
