//! A Backend that nobody can answer for: one clear answer, which names it.

use anyhow::{Result, ensure};
use spillway_tests::client::Answer;
use spillway_tests::scene::Scene;

use super::Pool;

/// Whether this is the answer for a Backend without an endpoint.
pub(super) fn is_nobody(answer: &Answer) -> bool {
    answer.status == 503 && answer.body == "no endpoint of the Backend pool is available\n"
}

#[test]
fn without_an_endpoint_the_answer_names_the_backend() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1", "e2"], "", "")?;
        let served = |answer: &Answer| answer.status == 200;
        pool.world.until("both endpoints", "/", served)?;
        pool.set(&[], "")?;
        pool.world.until("all endpoints gone", "/", is_nobody)?;
        pool.set(&[("e1", ""), ("e2", "")], "")?;
        pool.world.until("both endpoints again", "/", served)?;
        // Draining is no reason to give new sessions to an endpoint, even if all drain.
        pool.set(&[("e1", ", weight: 0"), ("e2", ", weight: 0")], "")?;
        pool.world.until("all endpoints draining", "/", is_nobody)?;
        let text = super::route("").replace("{name: pool}", "{name: pool, weight: 0}");
        pool.world.documents.write("route.yaml", &text)?;
        pool.world.until("all weights of the rule zero", "/", |answer| {
            answer.status == 500 && answer.body == "no backend of this rule has a weight above 0\n"
        })
    })
}

#[test]
fn an_endpoint_that_fails_its_checks_gets_nothing_and_comes_back() -> Result<()> {
    Scene::play(|scene| {
        let check = ", healthCheck: {http: {path: /healthz}, interval: 100ms, timeout: 1s, unhealthyAfter: 2, healthyAfter: 2}";
        let pool = Pool::start(scene, &["e1", "e2"], "", check)?;
        let of = |name: &'static str| {
            move |answer: &Answer| answer.header("x-upstream") == Some(name) && answer.status == 200
        };
        pool.world.until("both endpoints", "/", |answer| answer.status == 200)?;
        pool.upstreams.answer_with("e1", 500)?;
        pool.world.until("e2 alone", "/", of("e2"))?;
        pool.upstreams.answer_with("e2", 500)?;
        pool.world.until("no endpoint that is well", "/", is_nobody)?;
        pool.upstreams.answer_with("e1", 200)?;
        pool.world.until("e1 alone", "/", of("e1"))?;
        // Checks don't keep an endpoint that is taken out of the documents.
        pool.upstreams.answer_with("e2", 200)?;
        pool.set(&[("e2", "")], check)?;
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
