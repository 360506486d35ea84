//! The views, and what each has in its columns.

use super::figures::{Backend, Breaker, OneRule};
use super::model::{Fleet, Picture};
use super::table::{Cell, Order, Table, Tone};
use crate::fleet::PushView;

/// What there is to look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum View {
    #[default]
    Fleets,
    Behind,
    Routes,
    Rules,
    Breakers,
}

/// What is said where nobody was asked for metrics.
const NO_SOURCE: &str = "no metrics: name each Envoy (--metrics http://ENVOY:9901) or a Prometheus (--metrics http://PROMETHEUS:9090/federate)";

impl View {
    pub(super) const ALL: [Self; 5] = [Self::Fleets, Self::Behind, Self::Routes, Self::Rules, Self::Breakers];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Fleets => "Fleets",
            Self::Behind => "Behind",
            Self::Routes => "Routes",
            Self::Rules => "Rules",
            Self::Breakers => "Breakers",
        }
    }

    /// How its rows are sorted where nobody has said it.
    pub(super) fn order(self) -> Order {
        let column = match self {
            Self::Fleets | Self::Behind => 0,
            Self::Routes => 1,
            Self::Rules => 3,
            Self::Breakers => 2,
        };
        Order { column, reversed: false }
    }

    /// The other view so many places on, or back.
    pub(super) fn next(self, step: usize) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self).unwrap_or(0);
        Self::ALL.into_iter().cycle().nth(at + step).unwrap_or_default()
    }

    /// What it shows of this.
    pub(super) fn table(self, picture: &Picture) -> Table {
        let figures = &picture.figures;
        let none = |what: &str| {
            if picture.sources.is_empty() { NO_SOURCE.to_owned() } else { format!("no {what} yet") }
        };
        match self {
            Self::Fleets => fleets(&picture.fleets),
            Self::Behind => behind(&picture.fleets),
            Self::Routes => Table { empty: none("requests"), ..routes(&figures.routes) },
            Self::Rules => Table { empty: none("rules"), ..rules(&figures.rules) },
            Self::Breakers => Table { empty: none("breakers"), ..breakers(&figures.breakers) },
        }
    }
}

fn fleets(fleets: &[Fleet]) -> Table {
    let row = |fleet: &Fleet| {
        let Fleet { fleet, revision, proxies, in_force, refusing, push, behind: _ } = fleet;
        let (push, tone) = match push {
            PushView::Everywhere => ("everywhere".to_owned(), Tone::Plain),
            PushView::Trying { in_use, canaries } => {
                (format!("tried by {}; the others stay on {in_use}", canaries.join(", ")), Tone::Odd)
            }
            PushView::Stopped { in_use, by, refused, .. } => {
                (format!("stopped by {by}; all stay on {in_use}: {}", refused.reason.trim()), Tone::Bad)
            }
        };
        vec![
            Cell::text(fleet),
            revision.map_or_else(|| Cell::text("-"), Cell::count),
            Cell::count(*proxies as u64),
            Cell::count(*in_force as u64)
                .tone(if in_force == proxies { Tone::Good } else { Tone::Odd }, *proxies > 0),
            Cell::count(*refusing as u64).if_any(Tone::Bad),
            Cell::text(&push).tone(tone, true),
        ]
    };
    Table {
        headings: vec!["FLEET", "REVISION", "PROXIES", "IN FORCE", "REFUSING", "PUSH"],
        rows: fleets.iter().map(row).collect(),
        empty: "no fleets".to_owned(),
    }
}

fn behind(fleets: &[Fleet]) -> Table {
    let rows = fleets.iter().flat_map(|fleet| {
        fleet.behind.iter().map(|one| {
            let state = one.refuses.as_deref().unwrap_or("has not answered yet");
            let tone = if one.refuses.is_some() { Tone::Bad } else { Tone::Odd };
            vec![
                Cell::text(&fleet.fleet),
                Cell::text(&one.proxy),
                Cell::text(&one.zone),
                Cell::text(state).tone(tone, true),
            ]
        })
    });
    Table {
        headings: vec!["FLEET", "PROXY", "ZONE", "REFUSES"],
        rows: rows.collect(),
        empty: "every proxy that is connected has the newest revision in force".to_owned(),
    }
}

fn routes(backends: &[Backend]) -> Table {
    let row = |backend: &Backend| {
        let status = |class: u8| Cell::number(backend.statuses.get(&class).copied().flatten());
        let endpoints = format!("{}/{}", backend.healthy, backend.endpoints);
        let unwell = backend.healthy < backend.endpoints;
        vec![
            Cell::text(&backend.backend),
            Cell::number(backend.requests),
            status(2),
            status(3),
            status(4),
            status(5).if_any(Tone::Bad),
            Cell::number(backend.p50),
            Cell::number(backend.p99),
            Cell::number(backend.retries).if_any(Tone::Odd),
            Cell::number(backend.timeouts).if_any(Tone::Bad),
            Cell::number(Some(backend.active)),
            Cell::text(&endpoints).tone(Tone::Bad, unwell),
            Cell::text(&backend.routes.join(" ")),
        ]
    };
    Table {
        headings: vec![
            "BACKEND",
            "REQ/S",
            "2XX",
            "3XX",
            "4XX",
            "5XX",
            "P50 MS",
            "P99 MS",
            "RETRY/S",
            "TIMEOUT/S",
            "ACTIVE",
            "HEALTHY",
            "ROUTES",
        ],
        rows: backends.iter().map(row).collect(),
        empty: String::new(),
    }
}

fn rules(rules: &[OneRule]) -> Table {
    let row = |rule: &OneRule| {
        let used = rule.saturation;
        vec![
            Cell::text(&rule.policy),
            Cell::text(&rule.rule),
            Cell::text(&rule.kind),
            Cell::number(rule.rejected).if_any(Tone::Bad),
            Cell::number(rule.shadowed).if_any(Tone::Odd),
            Cell::number(rule.shed).if_any(Tone::Bad),
            Cell::number(rule.in_flight),
            Cell::number(rule.limit),
            Cell::number(used).tone(Tone::Odd, used.is_some_and(|percent| percent >= 80.0)),
        ]
    };
    Table {
        headings: vec![
            "POLICY",
            "RULE",
            "KIND",
            "REJECT/S",
            "SHADOW/S",
            "SHED/S",
            "IN FLIGHT",
            "LIMIT",
            "USED %",
        ],
        rows: rules.iter().map(row).collect(),
        empty: String::new(),
    }
}

fn breakers(breakers: &[Breaker]) -> Table {
    let row = |breaker: &Breaker| {
        vec![
            Cell::text(&breaker.policy),
            Cell::text(&breaker.rule),
            Cell::number(breaker.open).if_any(Tone::Bad),
            Cell::number(breaker.half_open).if_any(Tone::Odd),
            Cell::number(breaker.rejected).if_any(Tone::Bad),
            Cell::number(breaker.changes),
            Cell::number(Some(breaker.opened)),
            Cell::number(Some(breaker.half_opened)),
            Cell::number(Some(breaker.closed)),
        ]
    };
    Table {
        headings: vec![
            "POLICY",
            "RULE",
            "OPEN",
            "HALF-OPEN",
            "REJECT/S",
            "CHANGE/S",
            "OPENED",
            "HALF-OPENED",
            "CLOSED",
        ],
        rows: breakers.iter().map(row).collect(),
        empty: String::new(),
    }
}
