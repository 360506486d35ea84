//! What the demo does after its last step: it stays up, so that its reader can try things.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use spillway_tests::load::{Load, Record};

use crate::narrator::Narrator;
use crate::stage::{PROTECTION, ROUTES, Stage};

/// About an hour and a half of gentle traffic; the demo ends when there is none left to show.
const REQUESTS: usize = 200_000;

/// Gentle traffic and its figures, once a second, until a signal ends the process.
pub(crate) fn stay(stage: &mut Stage, narrator: &Narrator) -> Result<()> {
    Narrator::say("\nIt stays up until Ctrl-C. Things to try:");
    stage.describe(narrator)?;
    let (url, control) = (&stage.url, stage.upstreams.control());
    Narrator::say(&format!("  curl -i {url}/orders/acme/7"));
    Narrator::say(&format!(
        "  curl '{url}/orders/acme/7?echo'                       what the upstream receives"
    ));
    Narrator::say(&format!(
        "  curl -X PUT {control}/upstreams/payments -H content-type:application/json -d '{{\"status\":500}}'"
    ));
    Narrator::say(&format!(
        "  for i in $(seq 30); do curl -s -o /dev/null -w '%{{http_code}} ' {url}/payments; done"
    ));
    Narrator::say(&format!("  curl http://{}/stats/prometheus | grep spillway", stage.envoy.admin()));
    Narrator::say(&format!("  edit the limit in   {}", stage.documents.path(PROTECTION).display()));
    Narrator::say(&format!("  edit the weights in {}", stage.documents.path(ROUTES).display()));
    Narrator::say(
        "The tenant sample now sends about 40 requests a second. What becomes of them, and what the control plane says:",
    );

    let load = Load::get(format!("{}/orders", stage.url))
        .header("x-tenant-id", "sample")
        .concurrency(1)
        .pause(Duration::from_millis(24))
        .requests(REQUESTS)
        .start(&stage.client)?;
    let mut shown = 0;
    let mut said = stage.control_plane.output().len();
    let mut seconds = 0_u64;
    while shown < REQUESTS {
        thread::sleep(Duration::from_secs(1));
        seconds += 1;
        stage.control_plane.process()?.alive()?;
        stage.envoy.process().alive()?;
        let output = stage.control_plane.output();
        if let Some(new) = output.get(said..).filter(|new| new.ends_with('\n')) {
            narrator.status("");
            Narrator::say(new.trim_end());
            said = output.len();
        }
        let records = load.since(shown);
        shown += records.len();
        if narrator.terminal() {
            narrator.status(&figures(&records));
        } else if seconds.is_multiple_of(10) {
            Narrator::say(&format!("  {}", figures(&records)));
        }
    }
    load.wait().map(drop)
}

fn figures(records: &[Record]) -> String {
    let served =
        |name| records.iter().filter(|r| r.upstream() == Some(name) && r.status() == Some(200)).count();
    let rejected = records.iter().filter(|record| record.status() == Some(429)).count();
    let (first, second) = (served("orders-v1"), served("orders-v2"));
    let other = records.len() - first - second - rejected;
    format!("last second: orders-v1 {first}, orders-v2 {second}, rejected {rejected}, other {other}")
}
