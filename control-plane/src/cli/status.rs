//! `spillway status`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use super::client::{Client, ClientError, Server};
use super::output::{Format, Output, Paint, print, printable, table};
use crate::fleet::{FleetView, ProxyView, PushView, TypeView};

/// How often the server is asked for something new.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// So much of a version is shown in a table: enough to compare.
const SHOWN_VERSION: usize = 12;

/// Shows which proxies are connected and what each was sent, has accepted and has refused, and why
///
/// Exits with 0 if the newest revision is in force in every proxy, with 1 if it is not (yet), and with 2 if that could not be found out.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Only this fleet
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
    /// Go on showing what changes, until interrupted
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.server.client()?;
        if self.watch {
            return self.go_on(&client);
        }
        let fleets = self.read(&client)?;
        self.output.show(&fleets, |fleets| text(fleets, Paint::stdout()))?;
        let known = self.fleet.is_none() || !fleets.is_empty();
        let in_force = known && fleets.iter().all(|fleet| fleet.in_force);
        Ok(if in_force { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn read(&self, client: &Client) -> Result<Vec<FleetView>, ClientError> {
        let mut fleets: Vec<FleetView> = client.get("fleets")?;
        fleets.retain(|view| self.fleet.as_ref().is_none_or(|fleet| *fleet == view.fleet));
        Ok(fleets)
    }

    fn go_on(&self, client: &Client) -> anyhow::Result<ExitCode> {
        let clear = self.output.output == Format::Table && std::io::stdout().is_terminal();
        let mut shown = None;
        // A server that can't be reached at all is told as ever; one that goes away meanwhile may come back.
        self.read(client)?;
        loop {
            let now = self.read(client).map_err(|error| error.to_string());
            let now = now.map(|fleets| (serde_json::to_string(&fleets).unwrap_or_default(), fleets));
            if shown.as_ref() != Some(&now.as_ref().map(|(text, _)| text.clone()).map_err(Clone::clone)) {
                if clear {
                    print("\u{1b}[H\u{1b}[2J")?;
                }
                match &now {
                    Ok((_, fleets)) => self.output.show(fleets, |fleets| text(fleets, Paint::stdout()))?,
                    Err(error) => eprintln!("spillway: {error}"),
                }
                shown = Some(now.map(|(text, _)| text));
            }
            std::thread::sleep(WATCH_INTERVAL);
        }
    }
}

/// Every fleet for people.
fn text(fleets: &[FleetView], paint: Paint) -> String {
    if fleets.is_empty() {
        return "no fleets\n".to_owned();
    }
    let parts: Vec<_> = fleets.iter().map(|fleet| of_fleet(fleet, paint)).collect();
    parts.join("\n")
}

fn of_fleet(view: &FleetView, paint: Paint) -> String {
    let FleetView { fleet, revision, in_force, push, proxies } = view;
    let having = proxies.iter().filter(|proxy| proxy.in_force).count();
    let revision = revision.map_or_else(|| "no Gateway".to_owned(), |number| format!("revision {number}"));
    let state = format!("in force in {having} of {} proxies", proxies.len());
    let state = if *in_force { paint.green(&state) } else { paint.yellow(&state) };
    let mut text = format!("{}: {revision}, {state}\n", paint.bold(&printable(fleet)));
    match push {
        PushView::Everywhere => {}
        PushView::Trying { in_use, canaries } => {
            let names: Vec<_> = canaries.iter().map(|id| printable(id)).collect();
            let names = if names.is_empty() { "nobody yet".to_owned() } else { names.join(", ") };
            text.push_str(&paint.yellow(&format!("tried by {names}; the others stay on revision {in_use}")));
            text.push('\n');
        }
        PushView::Stopped { in_use, by, type_url, refused } => {
            let why = told(by, type_url, refused);
            text.push_str(&paint.red(&format!("stopped, everybody stays on revision {in_use}: {why}")));
            text.push('\n');
        }
    }
    if !proxies.is_empty() {
        let rows = proxies.iter().flat_map(rows);
        text.push_str(&table(["PROXY", "ZONE", "TYPE", "SENT", "ACCEPTED", "STATE", "SINCE"], rows));
    }
    for proxy in proxies {
        for one in &proxy.types {
            if let Some(refused) = &one.refused {
                text.push_str(&paint.red(&told(&proxy.id, &one.type_url, refused)));
                text.push('\n');
            }
        }
    }
    text
}

fn rows(proxy: &ProxyView) -> Vec<[String; 7]> {
    let of_type = |one: &TypeView| {
        let state = match (&one.refused, one.sent == one.accepted) {
            (Some(refused), _) if refused.retried => "to be offered again",
            (Some(_), _) => "refused",
            (None, true) => "accepted",
            (None, false) => "waiting",
        };
        [
            proxy.id.clone(),
            proxy.zone.clone(),
            short_type(&one.type_url).to_owned(),
            version(one.sent.as_deref()),
            version(one.accepted.as_deref()),
            state.to_owned(),
            one.since.clone(),
        ]
    };
    if proxy.types.is_empty() {
        let since = proxy.connected_since.clone();
        let [none, dash] = [String::new(), "-".to_owned()];
        return vec![[proxy.id.clone(), proxy.zone.clone(), dash.clone(), dash.clone(), dash, none, since]];
    }
    proxy.types.iter().map(of_type).collect()
}

/// A refusal in one line.
fn told(proxy: &str, type_url: &str, refused: &crate::fleet::RefusedView) -> String {
    let crate::fleet::RefusedView { version: refused_version, reason, document, field, retried: _ } = refused;
    let place: Vec<_> = [document, field].into_iter().flatten().map(String::as_str).collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(" ")) };
    let (kind, version) = (short_type(type_url), version(Some(refused_version)));
    printable(&format!("{proxy} refuses {kind} {version}: {place}{reason}"))
}

fn version(version: Option<&str>) -> String {
    version.map_or_else(|| "-".to_owned(), |version| version.chars().take(SHOWN_VERSION).collect())
}

/// What operators of Envoy call the service that serves this type.
fn short_type(type_url: &str) -> &str {
    match type_url.rsplit('.').next().unwrap_or(type_url) {
        "Cluster" => "CDS",
        "ClusterLoadAssignment" => "EDS",
        "Listener" => "LDS",
        "RouteConfiguration" => "RDS",
        "TypedExtensionConfig" => "ECDS",
        "Secret" => "SDS",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::RefusedView;

    fn refused() -> RefusedView {
        RefusedView {
            version: "0123456789abcdef".into(),
            reason: "missing ]".into(),
            document: Some("Route orders".into()),
            field: Some("spec.rules[0].matches[0].path.value".into()),
            retried: false,
        }
    }

    fn view(push: PushView, refused: Option<RefusedView>) -> FleetView {
        let types = vec![TypeView {
            type_url: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration".into(),
            sent: Some("0123456789abcdef".into()),
            accepted: None,
            refused,
            since: "2026-03-01T12:00:00.000Z".into(),
        }];
        let proxy = ProxyView {
            id: "edge-1\u{1b}".into(),
            zone: "a".into(),
            address: None,
            connected_since: "2026-03-01T11:00:00.000Z".into(),
            user_agent: "envoy".into(),
            answered: true,
            in_force: false,
            canary: false,
            types,
        };
        FleetView { fleet: "edge".into(), revision: Some(7), in_force: false, push, proxies: vec![proxy] }
    }

    #[test]
    fn what_a_proxy_refuses_and_why_stands_below_the_table() {
        let shown = text(&[view(PushView::Everywhere, Some(refused()))], Paint::plain());
        assert_eq!(
            shown,
            "edge: revision 7, in force in 0 of 1 proxies\n\
             PROXY     ZONE   TYPE   SENT           ACCEPTED   STATE     SINCE\n\
             edge-1    a      RDS    0123456789ab   -          refused   2026-03-01T12:00:00.000Z\n\
             edge-1  refuses RDS 0123456789ab: Route orders spec.rules[0].matches[0].path.value: missing ]\n"
        );
    }

    #[test]
    fn a_push_that_is_tried_or_stopped_is_told() {
        let stopped = PushView::Stopped {
            in_use: 6,
            by: "edge-2".into(),
            type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".into(),
            refused: refused(),
        };
        let shown = text(&[view(stopped, None)], Paint::plain());
        assert!(
            shown.contains(
                "stopped, everybody stays on revision 6: edge-2 refuses CDS 0123456789ab: Route orders"
            ),
            "{shown}"
        );
        assert!(shown.contains("waiting"), "{shown}");
        let trying = PushView::Trying { in_use: 6, canaries: vec!["edge-2".into()] };
        let shown = text(&[view(trying, None)], Paint::plain());
        assert!(shown.contains("tried by edge-2; the others stay on revision 6"), "{shown}");
    }
}
