//! Each bound of a pool by itself, and the budget of second attempts.

use anyhow::{Result, ensure};
use spillway_tests::load::{Load, Report};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::Pool;

const CONCURRENCY: usize = 32;
const REQUESTS: usize = 200;

/// What becomes of a crowd of requests to a slow endpoint.
fn crowd(pool: &Pool) -> Result<Report> {
    Load::get(pool.world.url("/")).concurrency(CONCURRENCY).requests(REQUESTS).run(&pool.world.client)
}

fn stat(pool: &Pool, name: &str) -> Result<u64> {
    pool.world.envoy.stat(&format!("cluster.pool.{name}"))
}

#[test]
fn requests_wait_where_only_connections_are_bounded() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1"], "", ", connectionPool: {maxConnections: 1}")?;
        pool.upstreams.answer_slowly("e1", 200, 10)?;
        let others = crowd(&pool)?.other_than(&[200]);
        ensure!(others.is_empty(), "{others:?}");
        // A worker that has no connection at all may open one in spite of the bound.
        let connections = stat(&pool, "upstream_cx_total")?;
        ensure!(connections <= 2, "{connections} connections");
        ensure!(stat(&pool, "upstream_cx_overflow")? > 0, "the bound was never reached");
        Ok(())
    })
}

#[test]
fn requests_are_refused_where_the_queue_is_bounded() -> Result<()> {
    Scene::play(|scene| {
        let bounds = ", connectionPool: {maxConnections: 1, maxPendingRequests: 1}";
        let pool = Pool::start(scene, &["e1"], "", bounds)?;
        pool.upstreams.answer_slowly("e1", 200, 50)?;
        let report = crowd(&pool)?;
        let others = report.other_than(&[200, 503]);
        ensure!(others.is_empty(), "{others:?}");
        ensure!(
            report.count(200) > 0 && report.count(503) > 0,
            "{} and {}",
            report.count(200),
            report.count(503)
        );
        let refused = stat(&pool, "upstream_rq_pending_overflow")?;
        ensure!(refused == u64::try_from(report.count(503))?, "{refused} of {}", report.count(503));
        Ok(())
    })
}

#[test]
fn second_attempts_stay_within_the_pools_bound() -> Result<()> {
    Scene::play(|scene| {
        let retry = ", retry: {attempts: 3, codes: [503], backoff: 1ms}";
        let none = ", connectionPool: {maxRetries: 0}";
        let pool = Pool::start(scene, &["e1"], retry, none)?;
        pool.upstreams.answer_slowly("e1", 503, 20)?;
        let before = pool.upstreams.requests("e1")?;
        ensure!(crowd(&pool)?.count(503) == REQUESTS);
        let made = pool.upstreams.requests("e1")? - before;
        let withheld = stat(&pool, "upstream_rq_retry_overflow")?;
        ensure!(made == u64::try_from(REQUESTS)? && withheld == made, "{made} attempts, {withheld} withheld");
        Ok(())
    })
}

#[test]
fn second_attempts_stay_within_their_budget() -> Result<()> {
    Scene::play(|scene| {
        let retry = |budget: &str| format!(", retry: {{attempts: 3, codes: [503], backoff: 1ms{budget}}}");
        let pool = Pool::start(scene, &["e1"], &retry(""), ", connectionPool: {maxRetries: 1024}")?;
        pool.upstreams.answer_slowly("e1", 503, 20)?;
        let attempts = || -> Result<u64> {
            let before = pool.upstreams.requests("e1")?;
            ensure!(crowd(&pool)?.count(503) == REQUESTS);
            Ok(pool.upstreams.requests("e1")? - before)
        };
        let all = u64::try_from(4 * REQUESTS)?;
        let made = attempts()?;
        ensure!(made == all, "without a budget: {made} attempts of {all}");
        pool.world.documents.write("route.yaml", &super::route(&retry(", budget: 10%")))?;
        wait::until("the budget", || {
            let before = stat(&pool, "upstream_rq_retry_overflow")?;
            let made = attempts()?;
            let withheld = stat(&pool, "upstream_rq_retry_overflow")? - before;
            // A tenth of the requests under way, and never fewer than three, while all 32 would like to: of a request's three more
            // attempts hardly one is made.
            ensure!(withheld > 0 && made < all / 2, "{made} attempts, {withheld} withheld");
            Ok(())
        })
    })
}
