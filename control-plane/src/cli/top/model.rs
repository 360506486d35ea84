//! Everything that was heard, and the picture that it makes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::figures::Figures;
use super::source::{Source, State};
use crate::api::Documents;
use crate::fleet::{FleetView, ProxyView, PushView};

/// What the control plane and the sources have said.
#[derive(Debug)]
pub(super) struct Model {
    url: String,
    server: State,
    fleets: Vec<FleetView>,
    /// The rules of Routes that lead to each Backend.
    leading: BTreeMap<String, Vec<String>>,
    sources: Vec<Source>,
}

/// Something that somebody has said, or why not.
#[derive(Debug)]
pub(super) enum Said {
    /// By the control plane: the fleets, and the Routes if they have changed.
    Server(Result<(Vec<FleetView>, Option<Documents>), String>),
    /// By the source with this number.
    Source(usize, Result<String, String>),
}

/// What is shown, and what `-o json` has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Picture {
    pub(super) server: Standing,
    pub(super) sources: Vec<Standing>,
    pub(super) fleets: Vec<Fleet>,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// Whether somebody answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    pub(super) url: String,
    /// Why it does not answer.
    pub(super) error: Option<String>,
    /// For how many seconds.
    pub(super) away_for: Option<f64>,
}

/// A fleet in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the name that it has in the API")]
pub(super) struct Fleet {
    pub(super) fleet: String,
    pub(super) revision: Option<u64>,
    pub(super) proxies: usize,
    pub(super) in_force: usize,
    pub(super) refusing: usize,
    pub(super) push: PushView,
    /// Proxies that do not have the newest revision in force.
    pub(super) behind: Vec<Behind>,
}

/// A proxy that does not have the newest revision in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Behind {
    pub(super) proxy: String,
    pub(super) zone: String,
    /// What it refuses, and why; `null` if it is only waited for.
    pub(super) refuses: Option<String>,
}

impl Model {
    /// Nobody has said anything yet.
    pub(super) fn new(url: &str, sources: impl IntoIterator<Item = String>) -> Self {
        let sources = sources.into_iter().map(Source::new).collect();
        let (server, fleets, leading) = (State::default(), Vec::new(), BTreeMap::new());
        Self { url: url.to_owned(), server, fleets, leading, sources }
    }

    /// How often everybody has to answer before there is something to compare: the control plane once, a source twice.
    pub(super) fn asked(&self) -> Vec<usize> {
        std::iter::once(1).chain(self.sources.iter().map(|_| 2)).collect()
    }

    /// Takes what was said at this time, in seconds.
    pub(super) fn take(&mut self, said: Said, now: f64) {
        match said {
            Said::Server(Ok((fleets, documents))) => {
                (self.fleets, self.server) = (fleets, State::Answered);
                if let Some(documents) = documents {
                    self.leading = leading(&documents);
                }
            }
            Said::Server(Err(reason)) => self.server.miss(&reason, now),
            Said::Source(number, answer) => match (self.sources.get_mut(number), answer) {
                (Some(source), Ok(text)) => source.take(&text, now),
                (Some(source), Err(reason)) => source.miss(&reason, now),
                (None, _) => {}
            },
        }
    }

    /// How it looks at this time.
    pub(super) fn picture(&self, now: f64) -> Picture {
        Picture {
            server: Standing::of(&self.url, &self.server, now),
            sources: self.sources.iter().map(|one| Standing::of(&one.name, one.state(), now)).collect(),
            fleets: self.fleets.iter().map(Fleet::of).collect(),
            figures: Figures::of(&self.sources, &self.leading),
        }
    }
}

impl Picture {
    /// Who does not answer.
    pub(super) fn away(&self) -> impl Iterator<Item = &Standing> {
        std::iter::once(&self.server).chain(&self.sources).filter(|standing| standing.error.is_some())
    }
}

impl Standing {
    fn of(url: &str, state: &State, now: f64) -> Self {
        let (error, away_for) = match state {
            State::Asked | State::Answered => (None, None),
            State::Away(since, reason) => (Some(reason.clone()), Some(now - since)),
        };
        Self { url: url.to_owned(), error, away_for }
    }
}

impl Fleet {
    fn of(view: &FleetView) -> Self {
        let FleetView { fleet, revision, in_force: _, push, proxies } = view;
        let behind: Vec<_> = proxies.iter().filter(|proxy| !proxy.in_force).map(Behind::of).collect();
        Self {
            fleet: fleet.clone(),
            revision: *revision,
            proxies: proxies.len(),
            in_force: proxies.len() - behind.len(),
            refusing: behind.iter().filter(|proxy| proxy.refuses.is_some()).count(),
            push: push.clone(),
            behind,
        }
    }
}

impl Behind {
    fn of(proxy: &ProxyView) -> Self {
        let first = proxy.types.iter().find_map(|of_type| of_type.refused.as_ref());
        let refuses = first.map(|refused| {
            let place = [&refused.document, &refused.field].into_iter().flatten();
            let place: Vec<_> = place.map(String::as_str).chain([refused.reason.trim()]).collect();
            place.join(": ")
        });
        Self { proxy: proxy.id.clone(), zone: proxy.zone.clone(), refuses }
    }
}

/// The rules of these Routes, as `route/rule`, by the Backends that they lead to.
fn leading(documents: &Documents) -> BTreeMap<String, Vec<String>> {
    let mut leading = BTreeMap::<String, Vec<String>>::new();
    for route in &documents.documents {
        let rules = route.document.pointer("/spec/rules").and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            let name = rule.get("name").and_then(Value::as_str).unwrap_or_default();
            let name = format!("{}/{name}", route.name);
            let backends = rule.get("backendRefs").and_then(Value::as_array).into_iter().flatten();
            for backend in backends.filter_map(|backend| backend.get("name")?.as_str()) {
                let names = leading.entry(backend.to_owned()).or_default();
                if names.last() != Some(&name) {
                    names.push(name.clone());
                }
            }
        }
    }
    leading
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleets() -> Vec<FleetView> {
        let proxy = |id: &str, in_force: bool, refused: Value| {
            json!({
                "id": id, "zone": "a", "address": null, "connectedSince": "", "userAgent": "", "answered": true, "inForce": in_force, "canary": false,
                "types": [{"typeUrl": "x.Listener", "sent": "2", "accepted": "1", "refused": refused, "since": ""}],
            })
        };
        let refused = json!({"version": "2", "reason": "missing ]\n", "document": "Route r", "field": "spec", "retried": false});
        let proxies =
            [proxy("a", true, json!(null)), proxy("b", false, refused), proxy("c", false, json!(null))];
        let fleet = json!({"fleet": "edge", "revision": 7, "inForce": false, "push": {"state": "everywhere"}, "proxies": proxies});
        serde_json::from_value(json!([fleet])).unwrap()
    }

    #[test]
    fn a_fleet_is_counted_and_who_is_behind_named() {
        let mut model = Model::new("http://s", []);
        model.take(Said::Server(Ok((fleets(), None))), 1.0);
        let picture = model.picture(2.0);
        let [fleet] = picture.fleets.as_slice() else { panic!("{picture:?}") };
        assert_eq!((fleet.proxies, fleet.in_force, fleet.refusing), (3, 1, 1));
        let behind: Vec<_> =
            fleet.behind.iter().map(|one| (one.proxy.as_str(), one.refuses.as_deref())).collect();
        assert_eq!(behind, [("b", Some("Route r: spec: missing ]")), ("c", None)]);
        assert_eq!(picture.away().count(), 0);
    }

    #[test]
    fn a_control_plane_that_goes_away_leaves_what_it_said() {
        let mut model = Model::new("http://s", ["http://e".to_owned()]);
        model.take(Said::Server(Ok((fleets(), None))), 1.0);
        model.take(Said::Source(0, Ok("spillway_requests 1".into())), 1.0);
        model.take(Said::Server(Err("connection refused".into())), 3.0);
        model.take(Said::Server(Err("connection refused".into())), 5.0);
        let picture = model.picture(9.0);
        assert_eq!(picture.fleets.len(), 1);
        assert_eq!(picture.figures.envoys, 1);
        let away: Vec<_> = picture.away().map(|one| (one.url.as_str(), one.away_for)).collect();
        assert_eq!(away, [("http://s", Some(6.0))]);
        model.take(Said::Server(Ok((Vec::new(), None))), 10.0);
        model.take(Said::Source(0, Err("timeout".into())), 10.0);
        model.take(Said::Source(7, Err("nobody".into())), 10.0);
        let picture = model.picture(10.0);
        assert_eq!(picture.away().map(|one| one.url.as_str()).collect::<Vec<_>>(), ["http://e"]);
        assert_eq!((picture.fleets.len(), picture.figures.envoys), (0, 0));
    }

    #[test]
    fn backends_know_the_rules_that_lead_to_them() {
        let route = |name: &str| {
            let rules = json!([
                {"name": "all", "backendRefs": [{"name": "b"}, {"name": "b"}, {"name": "c"}]},
                {"name": "away", "redirect": {}},
            ]);
            json!({"kind": "Route", "name": name, "revision": 1, "document": {"spec": {"rules": rules}}})
        };
        let documents: Documents =
            serde_json::from_value(json!({"revision": 1, "documents": [route("r"), route("s")]})).unwrap();
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let expected = [("b", ["r/all", "s/all"]), ("c", ["r/all", "s/all"])];
        let expected = expected.map(|(backend, rules)| (backend.to_owned(), names(rules)));
        assert_eq!(leading(&documents), BTreeMap::from(expected));
    }
}
