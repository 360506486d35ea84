//! Clients that are known by a cookie.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::client::Answer;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::Pool;

/// What a client has to send back.
fn cookie(answer: &Answer) -> Result<&str> {
    let set = answer.header("set-cookie").with_context(|| format!("no cookie: {answer:?}"))?;
    set.split(';').next().context("an empty cookie")
}

#[test]
fn a_client_gets_a_cookie_and_stays_where_that_leads() -> Result<()> {
    Scene::play(|scene| {
        let rule = ", hashOn: [{cookie: {name: who, ttl: 1h}}]";
        let names = ["e1", "e2", "e3", "e4"];
        let pool = Pool::start(scene, &names, rule, ", loadBalancing: {policy: RingHash}")?;
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            let first = pool.world.get("/", &[("connection", "close")])?;
            let set = first.header("set-cookie").unwrap_or_default();
            ensure!(set.starts_with("who=") && set.contains("Max-Age=3600"), "{set}");
            let cookie = cookie(&first)?;
            let upstream = first.header("x-upstream").context("nobody answered")?;
            for _ in 0..10 {
                let again = pool.world.get("/", &[("cookie", cookie), ("connection", "close")])?;
                ensure!(
                    again.header("x-upstream") == Some(upstream),
                    "{cookie} moved from {upstream}: {again:?}"
                );
                ensure!(again.header("set-cookie").is_none(), "a second cookie: {again:?}");
            }
            seen.insert(upstream.to_owned());
        }
        // Twenty on one of four: less than once in a hundred thousand million.
        ensure!(seen.len() > 1, "{seen:?}");
        Ok(())
    })
}

#[test]
fn a_session_ends_when_its_time_is_over() -> Result<()> {
    Scene::play(|scene| {
        let rule = ", sessionPersistence: {sessionName: sid, absoluteTimeout: 3s}";
        let pool = Pool::start(scene, &["e1", "e2", "e3"], rule, "")?;
        let first = pool.world.get("/", &[])?;
        let set = first.header("set-cookie").unwrap_or_default();
        ensure!(set.contains("Max-Age=3"), "{set}");
        let cookie = cookie(&first)?;
        let upstream = first.header("x-upstream");
        // Nobody keeps the client from sending a cookie that is too old: it is the proxy that must not follow it.
        wait::until("another endpoint", || {
            let again = pool.world.get("/", &[("cookie", cookie), ("connection", "close")])?;
            ensure!(again.header("x-upstream") != upstream, "still on {upstream:?}");
            ensure!(again.header("set-cookie").is_some(), "a new session needs a new cookie");
            Ok(())
        })
    })
}
