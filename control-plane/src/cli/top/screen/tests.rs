use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use serde_json::json;

use super::*;
use crate::cli::top::model::{Model, Said};

/// A control plane that has said how a fleet is, an Envoy that has answered twice, and one that does not answer.
fn picture() -> Picture {
    let mut model = Model::new("http://s:18001", ["http://a:9901".to_owned(), "http://b:9901".to_owned()]);
    let proxy = |id: &str, in_force: bool| {
        json!({
            "id": id, "zone": "z", "address": null, "connectedSince": "", "userAgent": "", "answered": true, "inForce": in_force, "canary": false,
            "types": [{"typeUrl": "x.Listener", "sent": "2", "accepted": "1", "since": "", "refused":
                (!in_force).then(|| json!({"version": "2", "reason": "missing ]", "document": "Route r", "field": "spec", "retried": false}))}],
        })
    };
    let fleets = json!([{"fleet": "edge", "revision": 7, "inForce": false, "push": {"state": "everywhere"}, "proxies": [proxy("edge-1", true), proxy("edge-2", false)]}]);
    let documents = json!({"revision": 7, "documents": [{"kind": "Route", "name": "site", "revision": 1, "document":
        {"spec": {"rules": [{"name": "all", "backendRefs": [{"name": "alpha"}, {"name": "beta"}]}]}}}]});
    let (fleets, documents) =
        (serde_json::from_value(fleets).unwrap(), serde_json::from_value(documents).unwrap());
    model.take(Said::Server(Ok((fleets, Some(documents)))), 0.0);
    for n in [0, 1] {
        let text = format!(
            "spillway_requests {requests}\n\
             spillway_rejected{{kind=\"rate-limit\",policy=\"fair\",rule=\"all\"}} {rejected}\n\
             spillway_rejected{{kind=\"circuit-breaker\",policy=\"fair\",rule=\"failing\"}} 0\n\
             spillway_breaker{{policy=\"fair\",rule=\"failing\",to=\"open\"}} {n}\n\
             spillway_breaker_state{{policy=\"fair\",rule=\"failing\",state=\"open\"}} {n}\n\
             envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"alpha\"}} {requests}\n\
             envoy_cluster_upstream_rq_xx{{envoy_cluster_name=\"alpha\",envoy_response_code_class=\"2\"}} {requests}\n\
             envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"alpha\",le=\"10\"}} {requests}\n\
             envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"alpha\",le=\"+Inf\"}} {requests}\n\
             envoy_cluster_membership_total{{envoy_cluster_name=\"alpha\"}} 2\n\
             envoy_cluster_membership_healthy{{envoy_cluster_name=\"alpha\"}} 2\n\
             envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"beta\"}} {rejected}\n",
            requests = 300 * n,
            rejected = 25 * n
        );
        model.take(Said::Source(0, Ok(text)), f64::from(n) * 2.0);
        model.take(Said::Source(1, Err("does not answer: Connection refused".into())), f64::from(n) * 2.0);
    }
    model.picture(4.0)
}

/// The lines of a screen of this size after these keys.
fn screen(size: (u16, u16), keys: &str) -> Vec<String> {
    let (picture, mut looking) = (picture(), Looking::default());
    for key in keys.chars() {
        let key = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        assert!(looking.press(KeyEvent::from(key), &looking.table(&picture)));
    }
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| draw(frame, &picture, &looking, true)).unwrap();
    let cells = terminal.backend().buffer().content().chunks(usize::from(size.0));
    cells
        .map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect()
}

const HEAD: &str = "http://s:18001  revision 7  1 Envoy: 150 requests/s, 12.5 rejected/s, -";

#[test]
fn fleets_are_counted() {
    assert_eq!(
        screen((72, 8), ""),
        [
            HEAD,
            " 1 Fleets  2 Behind  3 Routes  4 Rules  5 Breakers",
            "FLEETv  REVISION  PROXIES  IN FORCE  REFUSING  PUSH",
            "edge           7        2         1         1  everywhere",
            "",
            "",
            "http://b:9901 does not answer: Connection refused (for 4 s)",
            KEYS,
        ]
    );
    let shown = screen((72, 8), "2");
    assert_eq!(
        shown[2..4],
        ["FLEETv  PROXY   ZONE  REFUSES", "edge    edge-2  z     Route r: spec: missing ]"]
    );
}

#[test]
fn routes_have_rates_and_times() {
    let shown = screen((130, 6), "3");
    assert_eq!(
        shown[2..4],
        [
            "BACKEND  REQ/Sv  2XX  3XX  4XX  5XX  P50 MS  P99 MS  RETRY/S  TIMEOUT/S  ACTIVE  HEALTHY  ROUTES",
            "alpha       150  150    -    -    -       5     9.9        -          -       0  2/2      site/all",
        ]
    );
    // Sorted the other way round, and by a part of the name.
    assert!(screen((130, 7), "3r")[3].starts_with("beta       12.5"));
    let shown = screen((130, 7), "3/BET\np");
    assert!(shown[3].starts_with("beta") && shown[4].is_empty(), "{shown:?}");
    assert!(shown[6].starts_with("only /BET (esc: all)  q quit"), "{shown:?}");
    assert!(shown[1].ends_with("Breakers   paused"), "{shown:?}");
    assert_eq!(screen((130, 7), "3/gamma")[2], "nothing of that");
    assert_eq!(screen((130, 7), "3/gamma")[6], "/gamma_");
}

#[test]
fn rules_and_breakers_have_what_they_reject() {
    let shown = screen((100, 8), "4");
    assert_eq!(
        shown[2..5],
        [
            "POLICY  RULE     KIND             REJECT/Sv  SHADOW/S  SHED/S  IN FLIGHT  LIMIT  USED %",
            "fair    all      rate-limit            12.5         -       -          -      -       -",
            "fair    failing  circuit-breaker          0         -       -          -      -       -",
        ]
    );
    let shown = screen((100, 8), "5");
    assert_eq!(
        shown[2..4],
        [
            "POLICY  RULE     OPENv  HALF-OPEN  REJECT/S  CHANGE/S  OPENED  HALF-OPENED  CLOSED",
            "fair    failing      1          -         0       0.5       1            0       0",
        ]
    );
}

#[test]
fn small_screens_show_what_there_is_room_for() {
    for size in [(1, 1), (3, 2), (20, 4), (40, 5)] {
        assert_eq!(screen(size, "3").len(), usize::from(size.1));
    }
}

#[test]
fn what_is_wrong_is_red_where_colours_are_wanted() {
    let colours = |is_coloured| {
        let mut terminal = Terminal::new(TestBackend::new(72, 8)).unwrap();
        terminal.draw(|frame| draw(frame, &picture(), &Looking::default(), is_coloured)).unwrap();
        let cells = terminal.backend().buffer().content().iter().filter(|cell| cell.fg == Color::Red);
        cells.map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    assert!(colours(true).contains("http://b:9901 does not answer"), "{}", colours(true));
    assert_eq!(colours(false), "");
}
