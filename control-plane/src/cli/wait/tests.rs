use serde_json::json;

use super::*;

#[allow(clippy::needless_pass_by_value, reason = "made for this")]
fn view(revision: u64, proxies: serde_json::Value) -> FleetView {
    serde_json::from_value(json!({
        "fleet": "edge", "revision": revision, "inForce": false, "push": {"state": "everywhere"}, "proxies": proxies,
    }))
    .unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "made for this")]
fn proxy(in_force: bool, sent: &str, accepted: &str, refused: serde_json::Value) -> serde_json::Value {
    json!({
        "id": "a", "address": null, "connectedSince": "", "userAgent": "", "answered": true, "inForce": in_force, "canary": false,
        "types": [{"typeUrl": "x.Listener", "sent": sent, "accepted": accepted, "refused": refused, "since": ""}],
    })
}

#[test]
fn a_fleet_is_settled_when_every_proxy_has_answered() {
    let accepted = proxy(true, "2", "2", json!(null));
    let sent = proxy(false, "2", "1", json!(null));
    let reason =
        json!({"version": "2", "reason": "no", "document": "Route r", "field": "spec", "retried": false});
    let refused = proxy(false, "2", "1", reason);
    let count = Count::of(&view(7, json!([accepted, sent, refused])), 7).unwrap();
    assert_eq!(count.text(), "1 of 3 accepted, 1 sent, 1 refused");
    assert!(!count.is_settled);
    assert_eq!(count.refusals, ["edge: a has refused a Listener: no (Route r: spec)"]);
    let count = Count::of(&view(7, json!([accepted, refused])), 7).unwrap();
    assert!(count.is_settled && count.refused == 1);
    // It had refused an earlier revision, and has not answered this one.
    let mut late = refused;
    late["answered"] = json!(false);
    let count = Count::of(&view(7, json!([late])), 7).unwrap();
    assert!(!count.is_settled && count.refused == 0);
    // What is in force is an earlier revision.
    assert!(!Count::of(&view(6, json!([accepted])), 7).unwrap().is_settled);
    assert!(Count::of(&view(7, json!([])), 7).unwrap().is_settled);
}

#[test]
fn a_refusal_that_may_pass_is_waited_for() {
    let reason = json!({"version": "2", "reason": "no", "document": null, "field": null, "retried": true});
    let count = Count::of(&view(7, json!([proxy(false, "2", "1", reason)])), 7).unwrap();
    assert!(!count.is_settled && count.refused == 0);
}

#[test]
fn a_push_that_was_stopped_is_refused() {
    let mut view = view(7, json!([proxy(false, "1", "1", json!(null))]));
    view.push = serde_json::from_value(json!({
        "state": "stopped", "inUse": 6, "by": "canary", "typeUrl": "x.Cluster",
        "refused": {"version": "2", "reason": "no", "document": null, "field": null, "retried": false},
    }))
    .unwrap();
    let count = Count::of(&view, 7).unwrap();
    assert!(count.is_settled);
    assert_eq!(count.refusals, ["edge: canary has refused a Cluster: no"]);
}
