//! Spans of requests, as an OpenTelemetry collector gets them from a real Envoy.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::client::Answer;
use spillway_tests::otlp::{Sink, Span};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::care;
use crate::world::{Headers, TO_ALPHA, World};

const POLICY: &str =
    "routeKey: [{header: x-user}]\nrateLimits: [{name: per-user, key: [routeKey], rate: 1/h, burst: 1}]";

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const PARENT: &str = "e457b5a2e4d86bd1";

const LISTENERS: &str = "  listeners: [{name: web, address: 127.0.0.1, port: ";

/// Has the Gateway record spans, and waits until it does on both workers.
fn trace(world: &World, sink: &Sink, sampling: &str) -> Result<()> {
    let tracing = format!("  tracing: {{otlp: \"{}\", sampling: {sampling}}}\n", sink.address());
    world.documents.edit(
        "base.yaml",
        &[LISTENERS, "protocol: HTTP}"],
        &[&format!("{tracing}{LISTENERS}"), "protocol: HTTP, accessLog: true}"],
    )?;
    propagates(world, "01")
}

/// Waits until upstreams are told of a decision (`01` to record and `00` not to) whoever asks.
fn propagates(world: &World, flags: &str) -> Result<()> {
    world.until(&format!("the decision {flags}"), "/?echo", |answer| {
        told(answer, "traceparent").is_ok_and(|parent| parent.ends_with(&format!("-{flags}")))
            || answer.status == 429
    })
}

/// A header as the upstream got it.
fn told(answer: &Answer, header: &str) -> Result<String> {
    let echo: Value = answer.json()?;
    let value = echo.pointer(&format!("/headers/{header}/0")).and_then(Value::as_str);
    value.map(str::to_owned).with_context(|| format!("no {header} in {echo}"))
}

/// Waits for a span.
fn span(sink: &Sink, what: &str, wanted: impl Fn(&Span) -> bool) -> Result<Span> {
    wait::until(what, || sink.received().span(what, &wanted).cloned())
}

fn tag<'s>(span: &'s Span, name: &str) -> Option<&'s str> {
    span.attributes.get(name).map(String::as_str)
}

#[test]
fn a_request_is_a_span_that_says_who_rejected_it() -> Result<()> {
    Scene::play(|scene| {
        let sink = Sink::start()?;
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(POLICY))])?;
        trace(&world, &sink, "100%")?;
        world.client = world.client.reconnected()?;

        let answer = world.get("/orders?echo", &[("x-user", "ann")])?;
        assert_eq!(answer.status, 200);
        let of_ann = |status: &'static str| {
            move |span: &Span| {
                tag(span, "spillway.route_key") == Some("ann")
                    && tag(span, "http.status_code") == Some(status)
            }
        };
        let admitted = span(&sink, "of the admitted request", of_ann("200"))?;
        assert_eq!((admitted.service.as_str(), admitted.name.as_str()), ("edge", "site/all"));
        assert_eq!((admitted.parent.as_str(), admitted.failed), ("", false));
        assert_eq!(
            tag(&admitted, "upstream_cluster.name").or(tag(&admitted, "upstream_cluster")),
            Some("alpha")
        );
        for name in ["error", "spillway.decision", "spillway.kind", "spillway.policy", "spillway.rule"] {
            assert_eq!(tag(&admitted, name), None, "{:?}", admitted.attributes);
        }
        // The upstream goes on with the trace, below this span.
        assert_eq!(told(&answer, "traceparent")?, format!("00-{}-{}-01", admitted.trace, admitted.id));

        // Whichever worker is asked.
        wait::until("ann to be rejected", || {
            let answer = world.get("/orders", &[("x-user", "ann")])?;
            ensure!(answer.status == 429, "{}", answer.status);
            Ok(())
        })?;
        let rejected = span(&sink, "of the rejected request", of_ann("429"))?;
        let tags = ["error", "spillway.decision", "spillway.kind", "spillway.policy", "spillway.rule"];
        let expected = ["true", "rate-limit/care/per-user", "rate-limit", "care", "per-user"].map(Some);
        assert_eq!(tags.map(|name| tag(&rejected, name)), expected, "{:?}", rejected.attributes);

        // The access log belongs to the same trace.
        let line = wait::until("its line in the access log", || {
            let log = world.envoy.process().output();
            let line = log.lines().find(|line| line.starts_with('{') && line.contains(&rejected.trace));
            Ok(serde_json::from_str::<Value>(line.context("no such line")?)?)
        })?;
        assert_eq!(line["trace_id"], rejected.trace.as_str());
        assert_eq!(line["decision"], "rate-limit/care/per-user");
        Ok(())
    })
}

#[test]
fn a_trace_is_continued_however_it_was_announced() -> Result<()> {
    const SHORT: &str = "0000000000000000a3ce929d0e0e4736";
    /// Headers, and the trace, the parent and the decision that they stand for.
    const CASES: [(&str, Headers, &str, &str); 8] = [
        ("W3C", &[("traceparent", "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01")], TRACE, "01"),
        (
            "W3C, not",
            &[("traceparent", "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-00")],
            TRACE,
            "00",
        ),
        (
            "one header",
            &[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90")],
            TRACE,
            "01",
        ),
        ("one header, short", &[("b3", "a3ce929d0e0e4736-e457b5a2e4d86bd1-d")], SHORT, "01"),
        ("one header, not", &[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0")], TRACE, "00"),
        (
            "several",
            &[
                ("x-b3-traceid", TRACE),
                ("x-b3-spanid", PARENT),
                ("x-b3-parentspanid", "05e3ac9a4f6e3b90"),
                ("x-b3-sampled", "1"),
            ],
            TRACE,
            "01",
        ),
        (
            "several, short",
            &[("x-b3-traceid", "a3ce929d0e0e4736"), ("x-b3-spanid", PARENT), ("x-b3-flags", "1")],
            SHORT,
            "01",
        ),
        (
            "both",
            &[("traceparent", "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01"), ("b3", "0")],
            TRACE,
            "01",
        ),
    ];
    Scene::play(|scene| {
        let sink = Sink::start()?;
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        trace(&world, &sink, "100%")?;
        world.client = world.client.reconnected()?;
        for (i, (case, headers, trace, flags)) in CASES.into_iter().enumerate() {
            let path = format!("/case/{i}?echo");
            let answer = world.get(&path, headers)?;
            let parent = told(&answer, "traceparent").context(case)?;
            let expected = format!("00-{trace}-");
            ensure!(
                parent.starts_with(&expected) && parent.ends_with(&format!("-{flags}")),
                "{case}: {parent}"
            );
            ensure!(!parent.contains(PARENT), "{case}: {parent} is not the proxy's own span");
            let echo: Value = answer.json()?;
            let left =
                echo["headers"].as_object().into_iter().flatten().filter(|(name, _)| name.contains("b3"));
            assert_eq!(left.count(), 0, "{case}: {echo}");
            if flags == "01" {
                let found = span(&sink, case, |span| parent.contains(&span.id))?;
                assert_eq!((found.trace.as_str(), found.parent.as_str()), (trace, PARENT), "{case}");
            }
        }
        // A decision alone: the trace is the proxy's own.
        for (headers, flags) in
            [([("x-b3-sampled", "0")], "00"), ([("x-b3-sampled", "1")], "01"), ([("x-b3-flags", "1")], "01")]
        {
            let parent = told(&world.get("/alone?echo", &headers)?, "traceparent")?;
            let parts: Vec<_> = parent.split('-').collect();
            let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
            ensure!(lengths == [2, 32, 16, 2] && parts.last() == Some(&flags), "{headers:?}: {parent}");
            let found = sink.received().spans.iter().any(|span| parent.contains(&span.id));
            ensure!(!found || flags == "01", "{headers:?} was recorded");
        }
        // What says nothing that can be understood does no harm, and is not recorded; nor is a decision alone in one header.
        let nonsense: [Headers; 5] = [
            &[("b3", "0")],
            &[("b3", "%REQ(host)%")],
            &[("x-b3-traceid", "zz")],
            &[("x-b3-traceid", ""), ("x-b3-spanid", "")],
            &[("traceparent", "x")],
        ];
        for headers in nonsense {
            assert_eq!(world.get("/", headers)?.status, 200, "{headers:?}");
        }
        let paths: Vec<_> = sink
            .received()
            .spans
            .iter()
            .filter_map(|span| tag(span, "http.url").map(str::to_owned))
            .collect();
        for (i, (case, _, _, flags)) in CASES.into_iter().enumerate() {
            let recorded = paths.iter().any(|path| path.contains(&format!("/case/{i}?")));
            assert_eq!(recorded, flags == "01", "{case}: {paths:?}");
        }
        Ok(())
    })
}

#[test]
fn an_edit_changes_how_much_is_recorded() -> Result<()> {
    Scene::play(|scene| {
        let sink = Sink::start()?;
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        trace(&world, &sink, "100%")?;
        span(&sink, "of any request", |_| true)?;

        world.documents.edit("base.yaml", &["sampling: 100%"], &["sampling: 0%"])?;
        propagates(&world, "00")?;
        world.client = world.client.reconnected()?;
        for i in 0..20 {
            // Not even if asked for.
            let parent = format!("00-{TRACE}-{PARENT}-01");
            let answer = world.get(&format!("/silence/{i}?echo"), &[("traceparent", &parent)])?;
            let onward = told(&answer, "traceparent")?;
            ensure!(onward.starts_with(&format!("00-{TRACE}-")) && onward.ends_with("-00"), "{onward}");
        }
        // Log lines belong together all the same.
        wait::until("a line of one of them", || {
            let log = world.envoy.process().output();
            let line = log.lines().find(|line| line.starts_with('{') && line.contains("/silence/7"));
            let line: Value = serde_json::from_str(line.context("no such line")?)?;
            ensure!(line["trace_id"] == TRACE, "{line}");
            Ok(())
        })?;

        // Of few requests, and of those that ask for it.
        world.documents.edit("base.yaml", &["sampling: 0%"], &["sampling: 0.01%"])?;
        let ask = |decision: &str| {
            let parent = format!("00-{TRACE}-{PARENT}-{decision}");
            let answer = world.get(
                &format!("/asked/{decision}?echo"),
                &[("traceparent", &parent), ("connection", "close")],
            )?;
            told(&answer, "traceparent")
        };
        let onward = wait::until("what is asked for to be recorded", || {
            let onward = ask("01")?;
            ensure!(onward.ends_with("-01"), "{onward}");
            Ok(onward)
        })?;
        span(&sink, "of a request that asks for it", |span| onward.contains(&span.id))?;
        let onward = ask("00")?;
        ensure!(onward.ends_with("-00"), "{onward}");

        world.documents.edit("base.yaml", &["sampling: 0.01%"], &["sampling: 100%"])?;
        propagates(&world, "01")?;
        world.client = world.client.reconnected()?;
        world.get("/again", &[])?;
        let url = |span: &Span| tag(span, "http.url").unwrap_or_default().to_owned();
        span(&sink, "of a request after that", |span| url(span).contains("/again"))?;
        let silent = sink.received().spans.iter().filter(|span| url(span).contains("/silence/")).count();
        assert_eq!(silent, 0);
        Ok(())
    })
}

#[test]
fn requests_do_not_suffer_from_a_collector_that_is_not_there() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let nobody = spillway_tests::ports::Port::free()?;
        let mut last = String::new();
        for collector in [nobody.address().to_string(), "collector.invalid:4317".into()] {
            let tracing = format!("  tracing: {{otlp: \"{collector}\"}}\n");
            let load = world.steady("/").start(&world.client)?;
            world.documents.edit(
                "base.yaml",
                &[&format!("{last}{LISTENERS}")],
                &[&format!("{tracing}{LISTENERS}")],
            )?;
            last = tracing;
            wait::until("the collector's cluster", || {
                let clusters = world.client.read(&format!("http://{}/clusters", world.envoy.admin()))?.body;
                ensure!(clusters.contains(&format!("spillway/tracing/{collector}::")), "{clusters}");
                Ok(())
            })?;
            wait::until("the listener with it to be in force", || {
                let output = world.control_plane.command(&["status", "-o", "json"])?;
                let fleets: Value = serde_json::from_slice(&output.stdout)?;
                ensure!(output.status.success(), "{fleets:#}");
                Ok(())
            })?;
            world.client = world.client.reconnected()?;
            propagates(&world, "01")?;
            // Spans have been given up, and nobody has waited for it.
            let before = sum(&world.envoy.stats("tracing.opentelemetry.spans_sent")?);
            wait::until("spans to be sent in vain", || {
                let now = sum(&world.envoy.stats("tracing.opentelemetry.spans_sent")?);
                ensure!(now > before, "{now}");
                Ok(())
            })?;
            // Envoy counts them as sent; what became of them is told of the collector's cluster.
            wait::until("the cluster to say that nobody is there", || {
                let stats = world
                    .envoy
                    .stats(&format!("cluster.spillway/tracing/{}", collector.replace(':', "_")))?;
                let failed = ["upstream_cx_connect_fail", "upstream_cx_none_healthy"];
                let failed = stats.iter().filter(|(name, _)| failed.iter().any(|end| name.ends_with(end)));
                ensure!(failed.map(|(_, count)| count).sum::<u64>() > 0, "{stats:?}");
                Ok(())
            })?;
            assert_eq!(sum(&world.envoy.stats("tracing.opentelemetry.spans_dropped")?), 0);
            load.unharmed()?;
            for _ in 0..20 {
                let answer = world.get("/", &[])?;
                ensure!(answer.latency < Duration::from_secs(5), "{:?}", answer.latency);
            }
            world.client = world.client.reconnected()?;
        }
        world.envoy.process().alive()
    })
}

fn sum(stats: &BTreeMap<String, u64>) -> u64 {
    stats.values().sum()
}
