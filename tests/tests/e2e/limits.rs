//! What a rate limit can say: costs, overrides, conditions, shadow, answers of its own, headers, gRPC.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use spillway_tests::client::Answer;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{TO_ALPHA, care};
use crate::world::World;

fn start(scene: &Scene, rules: &str) -> Result<World> {
    World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(rules))])
}

/// How many of `tries` requests are admitted.
fn admitted(world: &World, path: &str, headers: &[(&str, &str)], tries: usize) -> Result<usize> {
    let mut admitted = 0;
    for _ in 0..tries {
        admitted += usize::from(world.get(path, headers)?.status == 200);
    }
    Ok(admitted)
}

#[test]
fn overrides_are_buckets_of_their_own_or_none() -> Result<()> {
    Scene::play(|scene| {
        let world = start(
            scene,
            "rateLimits: [{name: users, key: [{header: x-user}], rate: 1/h, burst: 2, overrides: [{key: acme, rate: 1/h, burst: 7}, {key: probe, unlimited: true}]}]",
        )?;
        for (user, expected) in [("acme", 7), ("probe", 30), ("other", 2), ("Acme", 2)] {
            let passed = admitted(&world, "/", &[("x-user", user)], 30)?;
            ensure!(passed == expected, "{user}: {passed} of 30 admitted, not {expected}");
        }
        Ok(())
    })
}

#[test]
fn a_request_costs_what_its_header_says_within_bounds() -> Result<()> {
    Scene::play(|scene| {
        let world = start(
            scene,
            "rateLimits: [{name: users, key: [{header: x-user}], rate: 1/h, burst: 12, cost: {header: x-cost, default: 3, min: 2, max: 6}}]",
        )?;
        for (cost, expected) in
            [("4", 3), ("0", 6), ("-5", 4), ("999999999999999999999", 2), ("six", 4), (" 6 ", 2), ("1.5", 4)]
        {
            let user = format!("cost {cost}");
            let passed = admitted(&world, "/", &[("x-user", &user), ("x-cost", cost)], 8)?;
            ensure!(passed == expected, "x-cost: {cost}: {passed} admitted, not {expected}");
        }
        assert_eq!(admitted(&world, "/", &[("x-user", "default")], 8)?, 4);
        Ok(())
    })
}

#[test]
fn a_rule_is_about_the_requests_that_it_names() -> Result<()> {
    Scene::play(|scene| {
        let world = start(
            scene,
            "rateLimits: [{name: writes, rate: 1/h, burst: 1, when: [{method: POST}, {path: {value: /admin}, headers: [{name: x-env, value: prod}]}, {queryParams: [{name: dear, value: 'y(es)?', type: RegularExpression}]}]}]",
        )?;
        let post = || world.client.send(world.client.request(Method::POST, &world.url("/")));
        assert_eq!(post()?.status, 200);
        assert_eq!(post()?.status, 429);
        for (path, headers, expected) in [
            ("/", &[][..], 200),
            ("/admin", &[], 200),
            ("/admin/x", &[("x-env", "prod")], 429),
            ("/administrator", &[("x-env", "prod")], 200),
            ("/admin", &[("x-env", "test")], 200),
            ("/?dear=yes", &[], 429),
            ("/?cheap&dear=%79", &[], 429),
            ("/?dear=yess", &[], 200),
        ] {
            let status = world.get(path, headers)?.status;
            ensure!(status == expected, "{path} {headers:?} was answered with {status}, not {expected}");
        }
        Ok(())
    })
}

#[test]
fn a_shadow_counts_and_rejects_nothing() -> Result<()> {
    Scene::play(|scene| {
        let world = start(
            scene,
            "rateLimits: [{name: trial, key: [{header: x-user}], rate: 1/h, burst: 5, mode: shadow}]",
        )?;
        assert_eq!(admitted(&world, "/", &[("x-user", "ann")], 20)?, 20);
        wait::until("the shadow's count", || {
            let stats = world.envoy.stats("spillway_shadowed.kind.rate-limit.policy.care.rule.trial")?;
            let counted: u64 = stats.values().sum();
            ensure!(counted == 15, "{counted} of 15 are counted");
            let rejected = world.envoy.stats("spillway_rejected")?;
            ensure!(rejected.values().all(|count| *count == 0), "{rejected:?}");
            Ok(())
        })
    })
}

#[test]
fn a_rule_answers_in_its_own_words() -> Result<()> {
    Scene::play(|scene| {
        let world = start(
            scene,
            "rateLimits: [{name: users, key: [{header: x-user}], rate: 1/h, burst: 1, response: {status: 420, body: '{\"calm\": true}', contentType: application/json, headers: {X-Shop: closed}}}]",
        )?;
        let user = [("x-user", "ann")];
        assert_eq!(world.get("/", &user)?.status, 200);
        let answer = world.get("/", &user)?;
        assert_eq!((answer.status, answer.body.as_str()), (420, r#"{"calm": true}"#));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-shop"), Some("closed"));
        assert_eq!(answer.header("x-spillway-rejected-by"), Some("rate-limit/care/users"));
        Ok(())
    })
}

#[test]
fn several_rules_take_from_all_or_from_none() -> Result<()> {
    Scene::play(|scene| {
        let world = start(
            scene,
            "rateLimits:\n  - {name: users, key: [{header: x-user}], rate: 1/h, burst: 5}\n  - {name: shops, key: [{header: x-shop}], rate: 1/h, burst: 2}",
        )?;
        let at = |shop| [("x-user", "ann"), ("x-shop", shop)];
        assert_eq!(admitted(&world, "/", &at("first"), 10)?, 2);
        // Eight rejects have taken nothing from ann: three are left.
        assert_eq!(admitted(&world, "/", &at("second"), 1)?, 1);
        assert_eq!(admitted(&world, "/", &at("third"), 10)?, 2);
        let answer = world.get("/", &at("fourth"))?;
        assert_eq!(answer.header("x-spillway-rejected-by"), Some("rate-limit/care/users"));
        Ok(())
    })
}

/// `r` or `t` of a `RateLimit` header, `q` or `w` of a `RateLimit-Policy` header.
fn parameter(answer: &Answer, header: &str, name: &str) -> Result<u64> {
    let value = answer.header(header).with_context(|| format!("no {header}"))?;
    let found = value.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    Ok(found.with_context(|| format!("no {name} in {header}: {value}"))?.parse()?)
}

#[test]
fn what_clients_are_told_of_their_limits_is_true() -> Result<()> {
    Scene::play(|scene| {
        let world = start(
            scene,
            "rateLimits: [{name: users, key: [{header: x-user}], rate: 30/m, burst: 3, rateLimitHeaders: true}]",
        )?;
        let get = || world.get("/", &[("x-user", "ann")]);
        for left in [2, 1, 0] {
            let answer = get()?;
            assert_eq!(answer.status, 200);
            assert!(answer.header("ratelimit").is_some_and(|value| value.starts_with("\"users\";")));
            // A token flows in every two seconds: a machine that stands still for so long finds one more.
            let told = parameter(&answer, "ratelimit", "r")?;
            assert!((left..=2).contains(&told), "{told} left");
            assert_eq!(parameter(&answer, "ratelimit-policy", "q")?, 3);
            assert_eq!(parameter(&answer, "ratelimit-policy", "w")?, 6);
        }
        let rejected = wait::until("the bucket to be empty", || {
            let answer = get()?;
            ensure!(answer.status == 429);
            Ok(answer)
        })?;
        assert_eq!(parameter(&rejected, "ratelimit", "r")?, 0);
        let after: u64 = rejected.header("retry-after").context("no retry-after")?.parse()?;
        assert!((1..=2).contains(&after), "retry-after: {after}");
        assert_eq!(parameter(&rejected, "ratelimit", "t")?, after);
        thread::sleep(Duration::from_secs(after));
        assert_eq!(get()?.status, 200, "nobody else took the token that was promised");
        Ok(())
    })
}

#[test]
fn a_grpc_call_gets_a_grpc_answer() -> Result<()> {
    Scene::play(|scene| {
        let world = start(
            scene,
            "rateLimits: [{name: calls, key: [{header: x-user}], rate: 1/h, burst: 1}]\nconcurrency: [{name: none, key: [{header: x-pool}], max: 1}]",
        )?;
        let http2 = world.client.http2()?;
        let call = |user: &str| {
            let request = http2.request(Method::POST, &world.url("/shop.Orders/Place"));
            let request = request.header("content-type", "application/grpc+proto").header("te", "trailers");
            http2.send(request.header("x-user", user).body(vec![0_u8; 5]))
        };
        assert_eq!(call("ann")?.header("grpc-status"), None, "the upstream knows no gRPC");
        let answer = call("ann")?;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("8")), "RESOURCE_EXHAUSTED");
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!(answer.header("x-spillway-rejected-by"), Some("rate-limit/care/calls"));
        assert!(
            answer.header("grpc-message").is_some_and(|message| message.contains("rate-limit/care/calls"))
        );
        assert!(answer.body.is_empty(), "trailers only");

        world.upstreams.answer_slowly("alpha", 200, 3_000)?;
        let before = world.upstreams.requests("alpha")?;
        let slow = world.client.http2()?;
        let request = slow.request(Method::POST, &world.url("/")).header("x-pool", "one").body("");
        let busy = thread::spawn(move || slow.send(request.header("x-user", "eve")));
        wait::until("a slow request", || {
            ensure!(world.upstreams.requests("alpha")? > before);
            Ok(())
        })?;
        let request = http2.request(Method::POST, &world.url("/")).header("content-type", "application/grpc");
        let answer =
            http2.send(request.header("x-pool", "one").header("x-user", "bob").body(vec![0_u8; 5]))?;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")), "UNAVAILABLE");
        assert_eq!(answer.header("x-spillway-rejected-by"), Some("concurrency/care/none"));
        assert_eq!(busy.join().ok().context("the slow request broke down")??.status, 200);
        Ok(())
    })
}
