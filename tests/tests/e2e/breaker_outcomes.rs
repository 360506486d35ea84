//! What counts as a failure: an answer that does not come in time, and a gRPC status where the content type says gRPC.

use anyhow::{Context as _, Result, ensure};
use spillway_tests::scene::Scene;

use crate::by_hand;
use crate::text::{care, document, site};
use crate::world::World;

const RULE: Option<&str> = Some("circuit-breaker/care/health");

/// A breaker for each Backend that opens at the third failure; `failures` says what is one.
fn health(failures: &str) -> String {
    care(&format!(
        "circuitBreakers: [{{name: health, key: [backend], window: 1m, minRequests: 1, trip: {{errorCount: 3}}, \
         openFor: 1h, probes: 1, failures: {failures}}}]"
    ))
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_failure() -> Result<()> {
    Scene::play(|scene| {
        let route = site(
            "- {name: whole, matches: [{path: {value: /whole}}], timeouts: {request: 100ms}, backendRefs: [{name: alpha}]}\n\
             - {name: attempt, matches: [{path: {value: /attempt}}], timeouts: {request: 10s, backendRequest: 100ms}, \
             retry: {attempts: 1, codes: [503]}, backendRefs: [{name: beta}]}",
        );
        // No status is a failure, so that only the timeout can be one.
        let policy = health("{statuses: [], grpcStatuses: [], resets: true}");
        let world = World::start(scene, &[("routes.yaml", &route), ("policy.yaml", &policy)])?;
        for (path, upstream) in [("/whole", "alpha"), ("/attempt", "beta")] {
            world.upstreams.answer_with(upstream, 500)?;
            for _ in 0..5 {
                assert_eq!(world.get(path, &[])?.status, 500, "an answer in time");
            }
            world.upstreams.answer_slowly(upstream, 200, 2_000)?;
            world.until("the breaker to open", path, |answer| {
                answer.header("x-spillway-rejected-by") == RULE
            })?;
        }
        Ok(())
    })
}

#[test]
fn a_grpc_status_counts_where_the_content_type_says_grpc() -> Result<()> {
    Scene::play(|scene| {
        // UNAVAILABLE, in the headers of an answer without a body.
        let unavailable = |content_type: &'static str| {
            by_hand::upstream(move |_| {
                format!(
                    "200 OK\r\ncontent-type: {content_type}\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n"
                )
            })
        };
        let (mut backends, mut rules) = (Vec::new(), Vec::new());
        for (name, content_type) in [("grpc", "application/grpc+proto"), ("text", "text/plain")] {
            let endpoint =
                format!("endpoints: [{{address: 127.0.0.1, port: {}}}]", unavailable(content_type)?);
            backends.push(document("Backend", name, &endpoint));
            rules.push(format!(
                "- {{name: {name}, matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: {name}}}]}}"
            ));
        }
        let route = site(&rules.join("\n"));
        let policy = health("{statuses: [], grpcStatuses: [UNAVAILABLE], resets: false}");
        let files =
            [("backends.yaml", &*backends.join("---\n")), ("routes.yaml", &route), ("policy.yaml", &policy)];
        let world = World::start(scene, &files)?;
        // As a gRPC client asks.
        let ask = |path: &str| {
            let headers = [("content-type", "application/grpc"), ("te", "trailers")];
            let request = headers.iter().fold(
                world.client.request(reqwest::Method::POST, &world.url(path)),
                |request, (name, value)| request.header(*name, *value),
            );
            world.client.send(request.body("\0\0\0\0\0"))
        };
        for _ in 0..40 {
            let answer = ask("/text")?;
            ensure!(
                answer.header("x-spillway-rejected-by").is_none(),
                "a gRPC status in an answer that is none"
            );
        }
        let mut answers = 0;
        spillway_tests::wait::until("the breaker to open", || {
            answers += 1;
            let answer = ask("/grpc").with_context(|| format!("answer {answers}"))?;
            ensure!(answer.header("x-spillway-rejected-by") == RULE, "{:?}", answer.header("grpc-status"));
            Ok(())
        })
    })
}
