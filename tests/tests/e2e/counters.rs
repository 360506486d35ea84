//! What both programs count, against the list of it; and the filter's counters, which live in VMs that Envoy replaces.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::care;
use crate::world::{TO_ALPHA, World};

const CLOSED: &str = "rateLimits:\n- {name: one, rate: 1/h, burst: 1}\n";
const BUILT: &str = "wasm.envoy.wasm.runtime.v8.created";
const REJECTED: &str = "spillway_rejected.kind.rate-limit.policy.care.rule.one";

/// One rule of each sort that counts something of its own.
const RULES: &str = "\
rateLimits:
- {name: one, rate: 100/s}
- {name: trial, rate: 100/s, mode: shadow}
circuitBreakers:
- {name: two, window: 10s, minRequests: 20, trip: {errorRatio: 50%}, openFor: 1s, probes: 1}
concurrency:
- {name: three, max: 100}
priority: {from: [{header: x-priority}], default: normal, levels: [normal, low]}
degrade:
- {name: four, when: {saturation: 90%}, shed: [low]}
";

/// It is there once a shared record could not be read, which nothing here can bring about.
const UNSEEN: &str = "spillway_store_failures";

/// A metric's type and the names of its labels.
type Shape = (String, BTreeSet<String>);

/// What `docs/metrics.md` lists below a heading.
fn documented(heading: &str) -> Result<BTreeMap<String, Shape>> {
    let text = std::fs::read_to_string(artifacts::workspace().join("docs/metrics.md"))?;
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).context("no such heading")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().trim_end_matches('`').to_owned();
        let of_type = cells.next()?.trim().to_owned();
        let labels = cells.next()?.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        Some((name, (of_type, labels.filter(|label| !label.is_empty()).collect())))
    };
    Ok(section.lines().filter_map(row).collect())
}

/// The family of a sample: a histogram's have endings of their own.
fn of_family(name: &str) -> &str {
    let mut ends = ["_bucket", "_sum", "_count"].into_iter().filter(|_| name.contains("_seconds_"));
    ends.find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// What a program shows, as far as its name begins in one of these ways. A family without samples has no labels to show.
fn scraped(text: &str, prefixes: &[&str]) -> BTreeMap<String, (String, Option<BTreeSet<String>>)> {
    let mut found: BTreeMap<String, (String, Option<BTreeSet<String>>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, of_type)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                found.insert(name.to_owned(), (of_type.to_owned(), None));
            }
        } else if let Some((_, labels)) =
            line.split(['{', ' ']).next().and_then(|name| found.get_mut(of_family(name)))
        {
            let inner = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
            let names = inner.into_iter().flat_map(|(inner, _)| inner.split(','));
            let names = names.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
            let names = names.filter(|name| name != "le");
            labels.get_or_insert_with(BTreeSet::new).extend(names);
        }
    }
    found
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_there() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(RULES))])?;
        let url = format!("http://{}/metrics", world.control_plane.admin());
        let control_plane = world.client.read(&url)?.body;
        let filter = world.envoy.prometheus()?;
        let programs = [
            ("The control plane", control_plane, &["spillway_", "process_"][..]),
            ("The filter", filter, &["spillway_"]),
        ];
        for (heading, text, prefixes) in programs {
            let documented = documented(heading)?;
            let scraped = scraped(&text, prefixes);
            let expected: BTreeSet<_> = documented.keys().filter(|name| *name != UNSEEN).collect();
            let shown: BTreeSet<_> = scraped.keys().filter(|name| *name != UNSEEN).collect();
            assert_eq!(shown, expected, "{heading}");
            for (name, (of_type, labels)) in &scraped {
                let (their_type, their_labels) = documented.get(name).context("just compared")?;
                assert_eq!(of_type, their_type, "{name}");
                assert_eq!(labels.as_ref().unwrap_or(their_labels), their_labels, "{name}");
            }
        }
        Ok(())
    })
}

#[test]
fn what_was_counted_outlives_the_vms_that_counted_it() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &care(CLOSED))])?;
        for _ in 0..20 {
            assert_eq!(world.get("/", &[])?.status, 429);
        }
        let counted = |world: &World| anyhow::Ok(world.envoy.stats(REJECTED)?.values().sum::<u64>());
        wait::until("the first VMs' counts", || {
            let seen = counted(&world)?;
            ensure!(seen >= 20, "{seen} of 20 rejects are counted");
            Ok(())
        })?;
        // World's own first request may have been rejected too, while it waited.
        let rejected = counted(&world)?;

        // Another build of the module: the same with a custom section of no meaning.
        let mut module = std::fs::read(artifacts::filter()?)?;
        module.extend([0, 2, 1, b'n']);
        let file = scene.folder().join("another.wasm");
        std::fs::write(&file, module)?;
        let built = world.envoy.stat(BUILT)?;
        world.control_plane.restart_with_filter(file)?;
        wait::until("VMs of the other build", || {
            let now = world.envoy.stat(BUILT)?;
            // A base VM, one for the main thread, one for each worker.
            ensure!(now >= built + 4, "{} VMs were built", now - built);
            Ok(())
        })?;
        world.envoy.wait_settled()?;
        assert_eq!(counted(&world)?, rejected, "a count went with its VM");
        assert_eq!(world.get("/", &[])?.status, 429);
        wait::until("the new VMs' counts", || {
            let seen = counted(&world)?;
            ensure!(seen == rejected + 1, "{seen} rejects are counted, not {}", rejected + 1);
            Ok(())
        })
    })
}
