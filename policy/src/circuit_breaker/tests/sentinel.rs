//! The three strategies of Sentinel's circuit breakers (its Java library from 1.8 on and its Go library agree on them), and where ours differ.

use super::*;

/// A strategy and its threshold, as Sentinel has them. The limit of slow answers is 500 ms.
#[derive(Debug, Clone, Copy)]
enum Grade {
    SlowRatio(f64),
    ErrorRatio(f64),
    ErrorCount(f64),
}

use Grade::{ErrorCount, ErrorRatio, SlowRatio};

/// After how many of these outcomes (failed, milliseconds) Sentinel opens: as soon as there are `min` and the value is *above* the threshold; of slow answers also when all
/// are slow and the threshold says so.
#[allow(clippy::cast_precision_loss, reason = "a handful of requests")]
fn theirs(strategy: Grade, min: usize, outcomes: &[(bool, u64)]) -> Option<usize> {
    (1..=outcomes.len()).find(|&count| {
        let seen = &outcomes[..count];
        let share = |hits: usize| hits as f64 / count as f64;
        let failed = seen.iter().filter(|(failed, _)| *failed).count();
        let slow = share(seen.iter().filter(|(_, millis)| *millis > 500).count());
        count >= min
            && match strategy {
                SlowRatio(most) => slow > most || (slow >= 1.0 && most >= 1.0),
                ErrorRatio(most) => share(failed) > most,
                ErrorCount(most) => failed as f64 > most,
            }
    })
}

fn ours(strategy: Grade, min: usize, outcomes: &[(bool, u64)]) -> Option<usize> {
    let trip = match strategy {
        SlowRatio(ratio) => json!({ "slow": { "over": "500ms", "ratio": format!("{}%", ratio * 100.0) } }),
        ErrorRatio(ratio) => json!({ "errorRatio": format!("{}%", ratio * 100.0) }),
        ErrorCount(count) => json!({ "errorCount": count.to_string().parse::<u32>().unwrap() }),
    };
    let mut engine = engine(json!([{ "name": "p", "circuitBreakers": [{
        "name": "b", "window": "10s", "minRequests": min, "trip": trip, "openFor": "2s", "probes": 1 }] }]));
    let (mut store, mut now) = (Shared::default(), SECOND);
    outcomes
        .iter()
        .position(|&(failed, millis)| {
            now += 10 * MS;
            let outcome = Outcome { latency: Some(millis * MS), ..if failed { FAILED } else { OK } };
            assert!(send(&mut engine, &Described::default(), outcome, &mut store, now));
            engine.tick(&mut store, now + 5 * MS);
            changes(&mut engine) == ["open"]
        })
        .map(|position| position + 1)
}

const GOOD: (bool, u64) = (false, 20);
const BAD: (bool, u64) = (true, 20);
const SLOW: (bool, u64) = (false, 501);
const NEARLY: (bool, u64) = (false, 500);

/// A strategy, the least number of requests, outcomes; after which of them theirs opens, and ours.
type Vector<'v> = (Grade, usize, &'v [(bool, u64)], Option<usize>, Option<usize>);

#[test]
fn what_sentinel_opens_at_ours_opens_at_or_one_failure_earlier() {
    let vectors: &[Vector] = &[
        // The same in both: nothing below the least number, an answer of exactly the limit is not slow, any answer counts.
        (ErrorRatio(0.5), 5, &[BAD, BAD, BAD, BAD, GOOD], Some(5), Some(5)),
        (ErrorRatio(0.5), 5, &[BAD, BAD, BAD, BAD], None, None),
        (SlowRatio(0.5), 3, &[SLOW, SLOW, GOOD], Some(3), Some(3)),
        (SlowRatio(0.5), 3, &[NEARLY, NEARLY, NEARLY, GOOD], None, None),
        (SlowRatio(1.0), 3, &[SLOW, SLOW, SLOW], Some(3), Some(3)),
        (SlowRatio(1.0), 3, &[SLOW, SLOW, GOOD], None, None),
        (SlowRatio(0.5), 2, &[BAD, BAD, BAD], None, None),
        // A value that is just reached: ours is `at least`, theirs `more than`.
        (ErrorRatio(0.5), 4, &[BAD, GOOD, GOOD, BAD, BAD], Some(5), Some(4)),
        (SlowRatio(0.5), 4, &[SLOW, GOOD, GOOD, SLOW, SLOW], Some(5), Some(4)),
        (ErrorCount(3.0), 1, &[BAD, BAD, BAD, BAD], Some(4), Some(3)),
        // Their threshold of all errors can never be passed; ours can be reached.
        (ErrorRatio(1.0), 3, &[BAD, BAD, BAD, BAD], None, Some(3)),
        // Their count waits for the least number of requests; ours is a number of failures, however many requests there were.
        (ErrorCount(2.0), 6, &[BAD, BAD, BAD, GOOD, GOOD, GOOD], Some(6), Some(2)),
    ];
    for &(strategy, min, outcomes, their_opening, our_opening) in vectors {
        assert_eq!(theirs(strategy, min, outcomes), their_opening, "Sentinel, {strategy:?} of {outcomes:?}");
        assert_eq!(ours(strategy, min, outcomes), our_opening, "{strategy:?} of {outcomes:?}");
    }
}

#[test]
fn unlike_sentinel_s_a_half_open_breaker_asks_all_its_probes_and_only_them() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    let early = ask(&mut engine, &request, &mut store, SECOND).unwrap();
    opened(&mut engine, &mut store, SECOND);
    let probes: Vec<_> = (0..9).filter_map(|_| ask(&mut engine, &request, &mut store, 3 * SECOND)).collect();
    assert_eq!(probes.len(), 3, "theirs lets one pass");
    engine.complete(early, OK, &mut store, 3 * SECOND);
    assert_eq!(
        changes(&mut engine),
        ["half-open"],
        "theirs closes when anything ends well, whenever it began"
    );
    for probe in probes {
        engine.complete(probe, OK, &mut store, 3 * SECOND);
    }
    assert_eq!(changes(&mut engine), ["closed"]);
}
