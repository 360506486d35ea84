use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

/// An upstream that serves so many at once, each in `service`; the rest waits.
struct Upstream {
    capacity: u32,
    service: u64,
}

/// Runs windows of traffic that would keep `demand` in flight; returns the least and the last limit.
fn run(
    estimate: &mut Estimate,
    bounds: Bounds,
    upstream: &Upstream,
    demand: u32,
    seconds: u64,
    now: &mut u64,
) -> (u32, u32) {
    let mut least = u32::MAX;
    for _ in 0..seconds * 20 {
        let peak = demand.min(estimate.limit(bounds));
        least = least.min(estimate.limit(bounds));
        let latency =
            upstream.service * u64::from(peak.max(upstream.capacity)) / u64::from(upstream.capacity);
        *now += 50 * MS;
        let count = u32::try_from(u64::from(peak) * 50 * MS / latency).unwrap().max(1);
        estimate.observe(bounds, Sample { count, sum: latency * u64::from(count), peak }, *now);
    }
    (least, estimate.limit(bounds))
}

const BOUNDS: Bounds = Bounds { min: 10, max: 1000 };

#[test]
fn it_finds_what_the_upstream_can_do() {
    for capacity in [20, 50, 200, 500] {
        let mut estimate = Estimate::new(BOUNDS, 0);
        let (_, limit) =
            run(&mut estimate, BOUNDS, &Upstream { capacity, service: 20 * MS }, 5_000, 120, &mut 0);
        assert!((capacity..=capacity * 2).contains(&limit), "{capacity}: {limit}");
    }
}

#[test]
fn it_recovers_when_the_upstream_becomes_slower_for_good_and_never_stops() {
    let (mut estimate, mut now) = (Estimate::new(BOUNDS, 0), 0);
    run(&mut estimate, BOUNDS, &Upstream { capacity: 200, service: 20 * MS }, 5_000, 60, &mut now);
    let slower = Upstream { capacity: 200, service: 100 * MS };
    let (least, limit) = run(&mut estimate, BOUNDS, &slower, 5_000, 60, &mut now);
    assert!(least >= BOUNDS.min, "{least}");
    assert!((200..=400).contains(&limit), "{limit}");
}

#[test]
fn it_follows_an_upstream_that_loses_half_of_itself() {
    let (mut estimate, mut now) = (Estimate::new(BOUNDS, 0), 0);
    run(&mut estimate, BOUNDS, &Upstream { capacity: 400, service: 20 * MS }, 5_000, 60, &mut now);
    let (_, limit) =
        run(&mut estimate, BOUNDS, &Upstream { capacity: 100, service: 20 * MS }, 5_000, 60, &mut now);
    assert!((100..=200).contains(&limit), "{limit}");
}

#[test]
fn a_limit_that_nobody_uses_does_not_grow() {
    let mut estimate = Estimate::new(BOUNDS, 0);
    run(&mut estimate, BOUNDS, &Upstream { capacity: 100, service: 20 * MS }, 2, 60, &mut 0);
    assert_eq!(estimate.limit(BOUNDS), BOUNDS.min);
}

#[test]
fn edited_bounds_hold_at_once() {
    let (mut estimate, mut now) = (Estimate::new(BOUNDS, 0), 0);
    run(&mut estimate, BOUNDS, &Upstream { capacity: 200, service: 20 * MS }, 5_000, 60, &mut now);
    assert_eq!(estimate.limit(Bounds { min: 1, max: 30 }), 30);
    assert_eq!(estimate.limit(Bounds { min: 5_000, max: 9_000 }), 5_000);
}

proptest! {
    #[test]
    fn whatever_comes_the_limit_stays_within_its_bounds(
        steps in proptest::collection::vec((0_u32..100, any::<u64>(), any::<u32>(), 0_u64..u64::MAX / 128), 1..100)
    ) {
        let (mut estimate, mut now) = (Estimate::new(BOUNDS, 0), 0_u64);
        for (count, sum, peak, later) in steps {
            now = now.saturating_add(later);
            estimate.observe(BOUNDS, Sample { count, sum, peak }, now);
            prop_assert!((BOUNDS.min..=BOUNDS.max).contains(&estimate.limit(BOUNDS)));
            let mut bytes = Vec::new();
            estimate.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), Estimate::LENGTH);
            prop_assert_eq!(Estimate::decode(&mut Reader::new(&bytes)), Some(estimate));
        }
    }
}

/// A limit of so many, in use, of an upstream whose base is known.
fn whole(limit: u64, base: u64) -> Estimate {
    let sample = Sample::default();
    Estimate { limit: limit * SCALE, base, least: 0, epoch: 0, window: 0, sample, phase: Phase::Whole }
}

fn answers(count: u32, each: u64, peak: u32) -> Sample {
    Sample { count, sum: u64::from(count) * each, peak }
}

#[test]
fn a_window_is_judged_after_a_quarter_of_a_second_and_ten_answers_or_two_seconds_and_one() {
    // When and how many, and whether that is a window.
    for (count, age, closes) in [
        (10, WINDOW, true),
        (10, WINDOW - 1, false),
        (1_000, 1, false),
        (9, WINDOW, false),
        (9, LONGEST - 1, false),
        (1, LONGEST, true),
        (0, LONGEST, false),
        (0, WINDOW, false),
    ] {
        let mut estimate = whole(100, 10 * MS);
        estimate.observe(BOUNDS, answers(count, 10 * MS, 100), age);
        assert_eq!(estimate.window == age, closes, "{count} answers in {age}");
        assert_eq!(estimate.limit(BOUNDS) > 100, closes, "{count} answers in {age}");
        assert_eq!(estimate.sample.count == 0, closes || count == 0);
    }
}

#[test]
fn a_window_from_far_ahead_is_one_of_a_clock_that_was_set_back() {
    for (ahead, begins_anew) in
        [(LONGEST - 1, false), (LONGEST, false), (LONGEST + 1, true), (LONGEST * 9, true)]
    {
        let now = 1_000 * MS;
        let mut estimate = Estimate { window: now + ahead, epoch: now + ahead, ..whole(100, 10 * MS) };
        estimate.observe(BOUNDS, answers(1, 10 * MS, 100), now);
        let expected = if begins_anew { now } else { now + ahead };
        assert_eq!((estimate.window, estimate.epoch), (expected, expected), "{ahead} ahead");
    }
}

#[test]
fn a_limit_shrinks_in_proportion_and_grows_by_its_root_each_half_of_the_way() {
    let after = |limit: u64, base: u64, mean: u64, peak: u32| {
        let mut estimate = whole(limit, base);
        estimate.observe(BOUNDS, answers(10, mean, peak), WINDOW);
        estimate.limit(BOUNDS)
    };
    assert_eq!(after(100, 10 * MS, 10 * MS, 100), 105, "its root is 10");
    assert_eq!(after(100, 10 * MS, 15 * MS, 100), 105, "half above the base is tolerated");
    assert_eq!(after(100, 10 * MS, 20 * MS, 100), 92, "(75 + 10 + 100) / 2");
    assert_eq!(after(100, 10 * MS, 900 * MS, 100), 80, "at most by half: (50 + 10 + 100) / 2");
    assert_eq!(after(100, 10 * MS, 10 * MS, 50), 105, "half of it is in use");
    assert_eq!(after(100, 10 * MS, 10 * MS, 49), 100, "it is not in use");
    assert_eq!(after(100, 10 * MS, 20 * MS, 49), 92, "what is not in use can shrink");
}

#[test]
fn what_is_kept_stays_within_the_bounds_too() {
    let bounds = Bounds { min: 90, max: 95 };
    for (mean, expected) in [(900 * MS, 90), (MS, 95)] {
        let mut estimate = whole(92, 10 * MS);
        estimate.observe(bounds, answers(10, mean, 92), WINDOW);
        estimate.observe(bounds, answers(10, mean, 92), 2 * WINDOW);
        assert_eq!(estimate.limit, expected * SCALE);
    }
}

#[test]
fn the_base_is_the_least_that_was_seen_and_is_looked_for_after_ten_seconds() {
    let mut estimate = whole(100, 0);
    let mut now = 0;
    for (mean, base, least) in [(30, 30, 30), (40, 30, 30), (20, 20, 20), (50, 20, 20)] {
        now += WINDOW;
        estimate.observe(BOUNDS, answers(10, mean * MS, 1), now);
        assert_eq!((estimate.base, estimate.least), (base * MS, least * MS));
    }
    // Nothing queues: the least of the time since is the base.
    let mut idle = Estimate { base: 5 * MS, ..estimate };
    idle.observe(BOUNDS, answers(10, 50 * MS, 1), EPOCH - 1);
    assert_eq!((idle.base, idle.epoch), (5 * MS, 0), "not before its time");
    let mut idle = Estimate { base: 5 * MS, ..estimate };
    idle.observe(BOUNDS, answers(10, 50 * MS, 1), EPOCH);
    assert_eq!((idle.base, idle.least, idle.epoch, idle.phase), (20 * MS, 0, EPOCH, Phase::Whole));
}

#[test]
fn where_the_limit_is_in_use_half_of_it_finds_the_base() {
    let mut estimate = whole(100, 10 * MS);
    estimate.observe(BOUNDS, answers(10, 20 * MS, 100), EPOCH - 1);
    assert_eq!(estimate.phase, Phase::Whole, "not before its time");
    let mut estimate = Estimate { window: 0, ..whole(100, 10 * MS) };
    estimate.observe(BOUNDS, answers(10, 20 * MS, 100), EPOCH);
    let half = estimate.limit(BOUNDS);
    assert_eq!((estimate.phase, half), (Phase::Settling, 46), "half of 92");
    estimate.observe(BOUNDS, answers(10, 18 * MS, 100), EPOCH + WINDOW);
    assert_eq!((estimate.phase, estimate.base, estimate.limit(BOUNDS)), (Phase::Measuring, 10 * MS, 46));
    estimate.observe(BOUNDS, answers(10, 16 * MS, 46), EPOCH + 2 * WINDOW);
    let Estimate { phase, base, least, epoch, .. } = estimate;
    assert_eq!((phase, base, least, epoch), (Phase::Whole, 16 * MS, 0, EPOCH + 2 * WINDOW));
    assert_eq!(estimate.limit(BOUNDS), 92);
}

#[test]
fn who_was_measured_longest_ago_is_told_by_its_age() {
    let (mut one, mut other) = (whole(100, 10 * MS), whole(100, 10 * MS));
    one.observe(BOUNDS, answers(10, MS, 1), WINDOW);
    other.observe(BOUNDS, answers(10, MS, 1), 2 * WINDOW);
    assert!(one.age_key() < other.age_key());
    assert!(whole(100, 0).age_key() < one.age_key());
}

#[test]
fn a_limit_that_no_bound_allows_was_never_written() {
    let most = u64::from(u32::MAX) * SCALE;
    for (limit, reads) in [(0, true), (most / SCALE + SCALE + 1, true), (most, true), (most + 1, false)] {
        let mut bytes = Vec::new();
        Estimate { limit, ..whole(1, 1) }.encode(&mut bytes);
        assert_eq!(Estimate::decode(&mut Reader::new(&bytes)).is_some(), reads, "{limit}");
    }
}
