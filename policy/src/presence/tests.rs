use super::*;
use crate::store::Memory;

fn beat(presence: &mut Presence, store: &mut Memory, times: u64, now: &mut u64) {
    for _ in 0..times {
        *now += BEAT;
        presence.tick(store, *now).unwrap();
    }
}

#[test]
fn each_vm_has_a_seat_of_its_own_and_keeps_it() {
    let mut store = Memory::default();
    let (mut one, mut two) = (Presence::default(), Presence::default());
    let (first, second) = (one.owner(&mut store).unwrap(), two.owner(&mut store).unwrap());
    assert_ne!(first, second);
    assert_eq!(one.owner(&mut store), Ok(first));
    assert_eq!(Owner::from_bytes(first.to_bytes()), first);
}

#[test]
fn a_vm_that_falls_silent_is_gone_after_ten_looks_and_not_before() {
    let (mut store, mut now) = (Memory::default(), 0);
    let (mut one, mut two) = (Presence::default(), Presence::default());
    one.owner(&mut store).unwrap();
    let second = two.owner(&mut store).unwrap();
    beat(&mut two, &mut store, 3, &mut now);
    beat(&mut one, &mut store, 10, &mut now);
    assert!(!one.is_gone(second));
    beat(&mut one, &mut store, 1, &mut now);
    assert!(one.is_gone(second));
    // Its seat is free for another, who is somebody else.
    let third = Presence::default().owner(&mut store).unwrap();
    assert_ne!(third, second);
    assert!(!one.is_gone(third));
}

#[test]
fn nobody_is_gone_because_everybody_was_stopped() {
    let (mut store, mut now) = (Memory::default(), 0);
    let (mut one, mut two) = (Presence::default(), Presence::default());
    let (first, second) = (one.owner(&mut store).unwrap(), two.owner(&mut store).unwrap());
    for _ in 0..30 {
        now += 1_000 * BEAT;
        one.tick(&mut store, now).unwrap();
        two.tick(&mut store, now).unwrap();
    }
    assert!(!one.is_gone(second) && !two.is_gone(first));
}

#[test]
fn a_look_too_early_does_not_count() {
    let mut store = Memory::default();
    let (mut one, mut two) = (Presence::default(), Presence::default());
    one.owner(&mut store).unwrap();
    let second = two.owner(&mut store).unwrap();
    for now in 0..1_000 {
        one.tick(&mut store, now).unwrap();
    }
    assert!(!one.is_gone(second));
}

#[test]
fn who_was_taken_for_gone_sits_down_anew() {
    let (mut store, mut now) = (Memory::default(), 0);
    let (mut one, mut two) = (Presence::default(), Presence::default());
    one.owner(&mut store).unwrap();
    let second = two.owner(&mut store).unwrap();
    beat(&mut one, &mut store, 12, &mut now);
    assert!(one.is_gone(second));
    beat(&mut two, &mut store, 1, &mut now);
    let anew = two.owner(&mut store).unwrap();
    assert_ne!(anew, second);
    assert!(!one.is_gone(anew) && one.is_gone(second));
}

#[test]
fn seats_are_bounded_and_any_bytes_are_survived() {
    let mut store = Memory::default();
    for _ in 0..SEATS {
        Presence::default().owner(&mut store).unwrap();
    }
    assert_eq!(Presence::default().owner(&mut store), Err(StoreError));
    assert!(store.bytes() < 1024);

    let mut store = Memory::default();
    store.compare_and_set(KEY, &[7; 5], None).unwrap();
    assert!(Presence::default().owner(&mut store).is_ok());
}

#[test]
fn who_finds_another_in_its_seat_gives_no_heartbeat_for_it() {
    let (mut store, mut now) = (Memory::default(), 0);
    let (mut one, mut two) = (Presence::default(), Presence::default());
    one.owner(&mut store).unwrap();
    let second = two.owner(&mut store).unwrap();
    beat(&mut one, &mut store, 12, &mut now);
    let third = Presence::default().owner(&mut store).unwrap();
    assert_eq!((third.seat, third.life), (second.seat, second.life + 1));
    beat(&mut two, &mut store, 1, &mut now);
    assert_eq!(two.me(), None, "it sits there no more");
    let mut bytes = Vec::new();
    store.read(KEY, &mut bytes).unwrap();
    assert_eq!(decode(&bytes)[usize::from(third.seat)].beat, 1, "nobody gave the third one's heartbeat");
}

#[test]
fn a_record_has_at_most_as_many_seats_as_there_are() {
    assert_eq!(decode(&[1; (SEATS + 1) * 6]).len(), SEATS);
    assert_eq!(decode(&[1; SEATS * 6]).len(), SEATS);
    assert_eq!(decode(&[1; SEATS * 6 - 1]).len(), SEATS - 1);
}
