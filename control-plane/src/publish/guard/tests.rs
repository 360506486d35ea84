use std::sync::Arc;

use super::*;
use crate::fleet::Refused;
use crate::resource::Kind;

const GUARD: Guard = Guard { canaries: 2, timeout: Duration::from_secs(5) };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A fleet whose proxies 0, 1, 2 ... stand so.
fn fleet(answers: &[Answer]) -> Vec<(LinkId, Answer)> {
    answers.iter().enumerate().map(|(id, answer)| (LinkId(id as u64), answer.clone())).collect()
}

fn refused() -> Answer {
    let refused = Refused {
        version: "2".into(),
        reason: "no".into(),
        resources: Arc::from([]),
        cause: None,
        retried: false,
    };
    Answer::Refused("a".into(), Kind::Route, refused)
}

fn wait(canaries: &[u64], until: Option<u64>) -> Verdict {
    Verdict::Wait { canaries: canaries.iter().copied().map(LinkId).collect(), until: until.map(at) }
}

use Answer::{Accepted as Yes, Connecting as New, None as Silent};

#[test]
fn a_few_try_it_and_when_they_have_accepted_all_get_it() {
    let mut trial = Trial::default();
    assert_eq!(trial.look(GUARD, at(0), &fleet(&[Silent, Silent, Silent])), wait(&[0, 1], Some(5)));
    assert_eq!(trial.look(GUARD, at(1), &fleet(&[Yes, Silent, Silent])), wait(&[0, 1], Some(5)));
    assert_eq!(trial.look(GUARD, at(2), &fleet(&[Yes, Yes, Silent])), Verdict::Accepted);
}

#[test]
fn a_refusal_stops_it_whoever_else_has_accepted() {
    let mut trial = Trial::default();
    trial.look(GUARD, at(0), &fleet(&[Silent, Silent, Silent]));
    assert_eq!(trial.look(GUARD, at(1), &fleet(&[Yes, refused(), Silent])), Verdict::Refused(refused()));
}

#[test]
fn a_silent_canary_is_replaced_and_its_late_answer_counts() {
    let mut trial = Trial::default();
    trial.look(GUARD, at(0), &fleet(&[Silent, Silent, Silent, Silent]));
    assert_eq!(trial.look(GUARD, at(4), &fleet(&[Silent, Yes, Silent, Silent])), wait(&[0, 1], Some(5)));
    assert_eq!(trial.look(GUARD, at(5), &fleet(&[Silent, Yes, Silent, Silent])), wait(&[0, 1, 2], Some(10)));
    // Late, but it answers.
    assert_eq!(trial.look(GUARD, at(6), &fleet(&[Yes, Yes, Silent, Silent])), Verdict::Accepted);

    let mut trial = Trial::default();
    trial.look(GUARD, at(0), &fleet(&[Silent, Silent, Silent, Silent]));
    trial.look(GUARD, at(5), &fleet(&[Silent, Silent, Silent, Silent]));
    let late = trial.look(GUARD, at(6), &fleet(&[refused(), Silent, Silent, Silent]));
    assert_eq!(late, Verdict::Refused(refused()));
}

#[test]
fn silence_is_never_waited_on_for_ever() {
    let mut trial = Trial::default();
    trial.look(GUARD, at(0), &fleet(&[Silent, Silent, Silent]));
    assert_eq!(trial.look(GUARD, at(5), &fleet(&[Silent, Yes, Silent])), wait(&[0, 1, 2], Some(10)));
    assert_eq!(trial.look(GUARD, at(10), &fleet(&[Silent, Yes, Silent])), Verdict::Accepted);
}

#[test]
fn where_nobody_speaks_everybody_has_been_asked_and_the_first_answer_decides() {
    let mut trial = Trial::default();
    trial.look(GUARD, at(0), &fleet(&[Silent, Silent]));
    assert_eq!(trial.look(GUARD, at(5), &fleet(&[Silent, Silent])), wait(&[0, 1], None));
    assert_eq!(trial.look(GUARD, at(60), &fleet(&[Silent, Yes])), Verdict::Accepted);
}

#[test]
fn a_fleet_smaller_than_its_canaries_is_asked_whole() {
    let mut trial = Trial::default();
    assert_eq!(trial.look(GUARD, at(0), &fleet(&[Silent])), wait(&[0], Some(5)));
    assert_eq!(trial.look(GUARD, at(1), &fleet(&[Yes])), Verdict::Accepted);
}

#[test]
fn without_proxies_it_waits_for_the_first_that_has_what_the_fleet_has() {
    let mut trial = Trial::default();
    assert_eq!(trial.look(GUARD, at(0), &[]), wait(&[], None));
    assert_eq!(trial.look(GUARD, at(9), &fleet(&[New])), wait(&[], None));
    assert_eq!(trial.look(GUARD, at(10), &fleet(&[Silent])), wait(&[0], Some(15)));
}

#[test]
fn a_canary_that_goes_away_is_replaced_at_once() {
    let mut trial = Trial::default();
    let all = fleet(&[Silent, Silent, Silent]);
    trial.look(GUARD, at(0), &all);
    assert_eq!(trial.look(GUARD, at(1), &all[1..]), wait(&[1, 2], Some(5)));
    // All gone but one that accepted: that one decides.
    assert_eq!(trial.look(GUARD, at(1), &[(LinkId(2), Yes)]), Verdict::Accepted);
}
