use crate::circuit_breaker::cell::{Cell, Tally, Terms};
use crate::circuit_breaker::record::{Unknown, WAYS, decode, find};
use crate::engine::BreakerState;
use crate::testing::SECOND;

#[test]
fn where_every_place_is_open_a_newcomer_has_no_breaker() {
    let terms = Terms {
        part: SECOND,
        min_requests: 4,
        error_ratio: Some(5_000),
        open_for: 2 * SECOND,
        probes: 3,
        ..Terms::default()
    };
    let now = SECOND;
    let mut cells = [Cell::new(0, terms.part, now); WAYS];
    for fingerprint in 1..=WAYS as u64 {
        let (cell, is_new) = find(&mut cells, fingerprint, Unknown::Create, &terms, now).unwrap();
        assert!(is_new);
        assert!(cell.count(now, Tally { total: 9, failed: 9, slow: 0 }, &terms, now));
    }
    assert!(find(&mut cells, 77, Unknown::Create, &terms, now).is_none());
    assert!(!find(&mut cells, 3, Unknown::Create, &terms, now).unwrap().1, "they are all still there");
    // Nobody has probed them for long.
    let old = &mut cells.clone();
    assert!(find(old, 77, Unknown::Create, &terms, now + 60 * SECOND).is_some());

    // Half-open since then, and nobody has heard of the probes.
    for cell in &mut cells {
        cell.take_ticket(&terms, now + 60 * SECOND).unwrap();
    }
    assert!(find(&mut cells, 78, Unknown::Create, &terms, now + 120 * SECOND).is_none());
    assert!(find(&mut cells, 78, Unknown::Create, &terms, now + 121 * SECOND).is_some());
}

#[test]
fn the_breaker_with_the_fewest_outcomes_makes_way() {
    let terms = Terms {
        part: SECOND,
        min_requests: 100,
        error_ratio: Some(5_000),
        open_for: SECOND,
        probes: 1,
        ..Terms::default()
    };
    let mut cells = [Cell::new(0, terms.part, SECOND); WAYS];
    for (fingerprint, total) in [(1, 5), (2, 2), (3, 9), (4, 3)] {
        let (cell, _) = find(&mut cells, fingerprint, Unknown::Create, &terms, SECOND).unwrap();
        cell.count(SECOND, Tally { total, failed: total, slow: 0 }, &terms, SECOND);
    }
    find(&mut cells, 5, Unknown::Create, &terms, SECOND).unwrap();
    assert_eq!(cells.map(|cell| cell.fingerprint), [1, 5, 3, 4]);
}

#[test]
fn records_survive_their_bytes_and_damaged_ones_are_new() {
    let terms = Terms {
        part: SECOND,
        min_requests: 1,
        error_ratio: Some(1),
        open_for: SECOND,
        probes: 2,
        ..Terms::default()
    };
    let mut cell = Cell::new(7, terms.part, 5 * SECOND);
    let mut cells = vec![cell];
    cell.count(5 * SECOND, Tally { total: 3, failed: 0, slow: 0 }, &terms, 6 * SECOND);
    cells.push(cell);
    cell.count(5 * SECOND, Tally::one(true, false), &terms, 7 * SECOND);
    cells.push(cell);
    assert_eq!(cell.take_ticket(&terms, 8 * SECOND - 1), None, "it is open for a second");
    cell.take_ticket(&terms, 9 * SECOND).unwrap();
    cells.push(cell);
    let kinds = [BreakerState::Closed, BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen];
    assert_eq!(cells.iter().map(|cell| cell.state.kind()).collect::<Vec<_>>(), kinds);

    let mut bytes = Vec::new();
    for cell in &cells {
        cell.encode(&mut bytes);
    }
    assert_eq!(decode(&bytes, 4).unwrap().to_vec(), cells);
    assert!(bytes.len() < 1_024);
    for length in 0..bytes.len() {
        assert_eq!(decode(&bytes[..length], 4), None, "{length}");
    }
    bytes[20] = 9;
    assert_eq!(decode(&bytes, 4), None, "no such state");

    let (mut bytes, mut cells) = (Vec::new(), cells);
    cells.truncate(1);
    cells[0].encode(&mut bytes);
    assert_eq!(decode(&bytes, 1).unwrap()[0], cells[0]);
    bytes[21..29].fill(0);
    assert_eq!(decode(&bytes, 1), None, "no part of a window is of no length");
}
