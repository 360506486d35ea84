//! A Backend that nobody can answer for: one clear answer, which names it.

use anyhow::{Result, ensure};
use spillway_tests::client::Answer;
use spillway_tests::scene::Scene;

use super::Pool;

/// An endpoint is well again after two checks, a fifth of a second.
const CHECKED: &str = ", healthCheck: {http: {path: /healthz}, interval: 100ms, timeout: 1s, unhealthyAfter: 2, healthyAfter: 2}";

/// Whether this is the answer for a Backend without an endpoint.
pub(super) fn is_nobody(answer: &Answer) -> bool {
    answer.status == 503 && answer.body == "no endpoint of the Backend pool is available\n"
}

fn is_served(answer: &Answer) -> bool {
    answer.status == 200
}

#[test]
fn all_endpoints_gone_is_a_503_that_names_the_backend() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1", "e2"], "", "")?;
        pool.world.until("both endpoints", "/", is_served)?;
        pool.set(&[], "")?;
        pool.world.until("all endpoints gone", "/", is_nobody)?;
        pool.set(&[("e1", ""), ("e2", "")], "")?;
        pool.world.until("both endpoints again", "/", is_served)
    })
}

#[test]
fn all_endpoints_draining_is_a_503_that_names_the_backend() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1", "e2"], "", "")?;
        pool.world.until("both endpoints", "/", is_served)?;
        // Draining is no reason to give new sessions to an endpoint, even if all drain.
        pool.set(&[("e1", ", weight: 0"), ("e2", ", weight: 0")], "")?;
        pool.world.until("all endpoints draining", "/", is_nobody)?;
        pool.set(&[("e1", ""), ("e2", ", weight: 0")], "")?;
        pool.world.until("one endpoint again", "/", |answer| answer.header("x-upstream") == Some("e1"))
    })
}

#[test]
fn all_weights_of_a_rule_zero_is_a_500_that_says_so() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1"], "", "")?;
        pool.world.until("the endpoint", "/", is_served)?;
        let text =
            super::route("").replace("{name: pool}", "{name: pool, weight: 0}, {name: beta, weight: 0}");
        pool.world.documents.write("route.yaml", &text)?;
        pool.world.until("all weights zero", "/", |answer| {
            answer.status == 500 && answer.body == "no backend of this rule has a weight above 0\n"
        })?;
        pool.world.documents.write("route.yaml", &super::route(""))?;
        pool.world.until("the endpoint again", "/", is_served)
    })
}

#[test]
fn all_endpoints_unhealthy_is_a_503_that_names_the_backend() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1", "e2"], "", CHECKED)?;
        pool.world.until("both endpoints", "/", is_served)?;
        for name in ["e1", "e2"] {
            pool.upstreams.answer_with(name, 500)?;
        }
        // Not the 500 of an endpoint that is known to fail.
        pool.world.until("no endpoint that is well", "/", is_nobody)?;
        let call = [("content-type", "application/grpc"), ("te", "trailers")];
        let answer = pool.world.get("/shop.Orders/Place", &call)?;
        let told = (answer.status, answer.header("grpc-status"), answer.header("grpc-message"));
        ensure!(told.0 == 200 && told.1 == Some("14"), "UNAVAILABLE is what a call gets, not {told:?}");
        ensure!(told.2.is_some_and(|text| text.contains("Backend pool")), "{told:?}");
        pool.upstreams.answer_with("e2", 200)?;
        pool.world.until("e2 alone", "/", |answer| answer.header("x-upstream") == Some("e2"))
    })
}

#[test]
fn an_endpoint_that_fails_its_checks_gets_nothing_and_comes_back() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1", "e2"], "", CHECKED)?;
        let of = |name: &'static str| {
            move |answer: &Answer| answer.header("x-upstream") == Some(name) && answer.status == 200
        };
        pool.world.until("both endpoints", "/", |answer| answer.status == 200)?;
        pool.upstreams.answer_with("e1", 500)?;
        pool.world.until("e2 alone", "/", of("e2"))?;
        pool.upstreams.answer_with("e1", 200)?;
        pool.upstreams.answer_with("e2", 500)?;
        pool.world.until("e1 alone", "/", of("e1"))?;
        // Checks don't keep an endpoint that is taken out of the documents.
        pool.upstreams.answer_with("e2", 200)?;
        pool.set(&[("e2", "")], CHECKED)?;
        pool.world.until("e2 alone, e1 taken out", "/", of("e2"))?;
        let requests = pool.upstreams.requests("e1")?;
        let report = pool.world.steady("/").requests(400).run(&pool.world.client)?;
        ensure!(
            report.other_than(&[200]).is_empty() && report.served_by("e2") == 400,
            "{:?}",
            report.other_than(&[200])
        );
        ensure!(pool.upstreams.requests("e1")? <= requests + 2, "e1 is still asked");
        Ok(())
    })
}

#[test]
fn an_endpoint_that_fails_its_requests_is_left_out_for_a_while() -> Result<()> {
    Scene::play(|scene| {
        let passive = ", outlierDetection: {consecutiveErrors: 3, ejectFor: 2s, maxEjected: 100%}";
        let pool = Pool::start(scene, &["e1", "e2"], "", passive)?;
        pool.world.until("both endpoints", "/", |answer| answer.status == 200)?;
        pool.upstreams.answer_with("e1", 502)?;
        // No check has told anybody; the requests themselves do.
        pool.world.until("e2 alone", "/", |answer| answer.header("x-upstream") == Some("e2"))?;
        pool.upstreams.answer_with("e2", 502)?;
        pool.world.until("both left out", "/", is_nobody)?;
        pool.upstreams.answer_with("e1", 200)?;
        pool.upstreams.answer_with("e2", 200)?;
        pool.world.until("both again", "/", |answer| answer.status == 200)
    })
}
