//! Token buckets.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use reqwest::header::HeaderValue;
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::care;
use crate::world::{TO_ALPHA, World};

fn policy(limits: &str) -> String {
    care(&format!("rateLimits:\n{limits}"))
}

#[test]
fn a_limit_is_exact_over_two_workers_under_overload() -> Result<()> {
    const RATE: f64 = 100.0;
    const BURST: f64 = 100.0;
    Scene::play(|scene| {
        let policy = policy("- {name: total, rate: 100/s, burst: 100}\n");
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        // The bucket is full at the beginning; a burst of a whole second bridges moments in which the machine stands still.
        let load = Load::get(world.url("/")).concurrency(32).requests(400_000).start(&world.client)?;
        wait::until("three seconds of refill to be used up", || {
            let admitted = load.since(0).iter().filter(|record| record.status() == Some(200)).count();
            ensure!(admitted > 400, "{admitted} admitted");
            Ok(())
        })?;
        let report = load.finish()?;
        assert_eq!(report.other_than(&[200, 429]), [].into());
        let (admitted, rejected) = (report.count(200), report.count(429));
        ensure!(rejected > admitted / 2, "no overload: {admitted} admitted, {rejected} rejected");
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let admitted = admitted as f64;
        // More than this can never be: the bucket as it was, full at most, and what flowed in meanwhile.
        let most = BURST + RATE * report.elapsed().as_secs_f64() + 1.0;
        assert!(admitted <= most, "{admitted} admitted, {most:.1} are allowed in {:?}", report.elapsed());
        // Less than this can't be: what flowed in between the first answer, when the bucket was no longer full, and the last request. A machine that stands
        // still before or after that admits nothing, and proves nothing.
        let first = report.records.iter().map(|record| record.answered).min().context("no answer")?;
        let last = report.records.iter().map(|record| record.sent).max().context("no request")?;
        let due = BURST + RATE * last.saturating_duration_since(first).as_secs_f64();
        assert!(
            admitted >= due * 0.99 - 2.0,
            "{admitted} admitted, {due:.1} are due in {:?}",
            report.elapsed()
        );
        // Both workers took part, or nothing was shown about two.
        let workers = world.envoy.stats("downstream_cx_total")?;
        for worker in ["worker_0", "worker_1"] {
            let connections: u64 =
                workers.iter().filter(|(name, _)| name.contains(worker)).map(|(_, count)| count).sum();
            assert!(connections > 0, "{worker} had no connection: {workers:?}");
        }
        Ok(())
    })
}

#[test]
fn a_reject_says_which_rule_it_was_and_when_to_come_back() -> Result<()> {
    Scene::play(|scene| {
        let policy = policy(
            "- {name: wide, rate: 1000/s}\n- {name: per-user, key: [{header: x-user}], rate: 2/m, burst: 1}\n",
        );
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        let reached = world.upstreams.requests("alpha")?;
        assert_eq!(world.get("/", &[("x-user", "ann")])?.status, 200);
        let answer = world.get("/", &[("x-user", "ann")])?;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("x-spillway-rejected-by"), Some("rate-limit/care/per-user"));
        let wait: u64 = answer.header("retry-after").context("no retry-after")?.parse()?;
        assert!((1..=30).contains(&wait), "retry-after: {wait}");
        assert_eq!(
            world.upstreams.requests("alpha")? - reached,
            1,
            "the rejected request reached the upstream"
        );

        // Another key has a bucket of its own; requests without the header share one.
        assert_eq!(world.get("/", &[("x-user", "bob")])?.status, 200);
        // The first request of all, which waited for Envoy, had no x-user.
        assert_eq!(world.get("/", &[])?.status, 429);

        wait::until("the reject's metric", || {
            let text = world.envoy.prometheus()?;
            let line = text.lines().find(|line| line.starts_with("spillway_rejected{"));
            let line = line.context("no metric spillway_rejected")?;
            ensure!(!line.ends_with(" 0"), "nothing is counted: {line}");
            for label in [r#"kind="rate-limit""#, r#"policy="care""#, r#"rule="per-user""#] {
                ensure!(line.contains(label), "{line} has no {label}");
            }
            Ok(())
        })
    })
}

#[test]
fn headers_of_any_bytes_are_keys_like_others() -> Result<()> {
    Scene::play(|scene| {
        let policy = policy("- {name: per-user, key: [{header: x-user}], rate: 1/h, burst: 1}\n");
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        let long = vec![b'a'; 8_000];
        for value in [&b"\xff\xfe\x80"[..], b"\xc3\x28", b":", b"a:b", b"%00", &long] {
            for expected in [200, 429] {
                let request = world
                    .client
                    .request(Method::GET, &world.url("/"))
                    .header("x-user", HeaderValue::from_bytes(value)?);
                let answer = world.client.send(request)?;
                let shown = String::from_utf8_lossy(value);
                ensure!(
                    answer.status == expected,
                    "x-user: {shown} was answered with {}, not {expected}",
                    answer.status
                );
            }
        }
        for path in ["/%ff%fe", "/%00", "/%c3%28?%ff", "//", "/a/../b", "/%2F%2f", "/?", "/;a=b"] {
            let answer = world.get(path, &[("x-user", path)])?;
            ensure!(answer.status < 500, "{path} was answered with {}", answer.status);
        }
        // The filter is alive, and no stream was answered for by a broken VM.
        assert_eq!(world.get("/", &[("x-user", "last")])?.status, 200);
        let failures: u64 =
            world.envoy.stats("wasm")?.iter().filter(|(n, _)| n.contains("fail")).map(|(_, v)| v).sum();
        assert_eq!(failures, 0);
        Ok(())
    })
}
