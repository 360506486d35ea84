//! What has to hold for the snapshots of any valid documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::{Listener, filter::ConfigType};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use envoy_types::pb::google::protobuf::Any;
use proptest::prelude::*;
use prost::{Message, Name};

use super::build::Builder;
use super::revision::Revisions;
use super::{Form, Snapshot};
use crate::model::Model;
use crate::resource::Kind;

/// Of each Backend of a rule.
type Weights = BTreeMap<usize, u32>;

/// Documents in numbers. Names end in a word, so that none is the beginning of another.
#[derive(Debug, Clone)]
struct Site {
    /// The fleet and the number of listeners of each Gateway.
    gateways: Vec<(usize, usize)>,
    /// The Gateways, and the Backends of each rule with their weights.
    routes: Vec<(BTreeSet<usize>, Vec<Weights>)>,
    backends: usize,
    /// The Gateway of each policy, and its rate.
    policies: Vec<(usize, u32)>,
}

fn site() -> impl Strategy<Value = Site> {
    let gateways = prop::collection::vec((0..3_usize, 1..3_usize), 1..5);
    (gateways, 1..8_usize).prop_flat_map(|(gateways, backends)| {
        let parents = prop::collection::btree_set(0..gateways.len(), 1..=gateways.len());
        let references = prop::collection::btree_map(0..backends, 0..4_u32, 1..=backends);
        // Enough rules for both forms that routes are rendered in.
        let rules = prop::collection::vec(references, 1..24);
        let routes = prop::collection::vec((parents, rules), 0..6);
        let policies = prop::collection::vec((0..gateways.len(), 1..9_u32), 0..4);
        (Just(gateways), routes, Just(backends), policies)
            .prop_map(|(gateways, routes, backends, policies)| Site { gateways, routes, backends, policies })
    })
}

fn backend(number: usize) -> String {
    format!("backend-{number}-end")
}

impl Site {
    fn model(&self) -> Model {
        let mut documents = Vec::new();
        for (i, (fleet, listeners)) in self.gateways.iter().enumerate() {
            let listeners: Vec<_> = (0..*listeners)
                .map(|l| format!("{{name: l{l}, port: {}, protocol: HTTP}}", 1_000 + 10 * i + l))
                .collect();
            documents.push((
                "Gateway",
                format!("gateway-{i}-end"),
                format!("{{fleet: fleet-{fleet}, listeners: [{}]}}", listeners.join(", ")),
            ));
        }
        for (i, (parents, rules)) in self.routes.iter().enumerate() {
            let parents: Vec<_> = parents.iter().map(|g| format!("{{name: gateway-{g}-end}}")).collect();
            let rules: Vec<_> = rules
                .iter()
                .enumerate()
                .map(|(r, references)| {
                    let references: Vec<_> = references
                        .iter()
                        .map(|(b, weight)| format!("{{name: {}, weight: {weight}}}", backend(*b)))
                        .collect();
                    let matching = format!("{{path: {{value: /r{i}/{r}}}}}");
                    format!("{{name: r{r}, matches: [{matching}], backendRefs: [{}]}}", references.join(", "))
                })
                .collect();
            documents.push((
                "Route",
                format!("route-{i}-end"),
                format!("{{parentRefs: [{}], rules: [{}]}}", parents.join(", "), rules.join(", ")),
            ));
        }
        for b in 0..self.backends {
            documents.push((
                "Backend",
                backend(b),
                format!("{{endpoints: [{{address: 10.0.0.{b}, port: 80}}]}}"),
            ));
        }
        for (i, (gateway, rate)) in self.policies.iter().enumerate() {
            let target = format!("{{kind: Gateway, name: gateway-{gateway}-end}}");
            documents.push((
                "TrafficPolicy",
                format!("policy-{i}-end"),
                format!("{{targetRefs: [{target}], rateLimits: [{{name: all, rate: {rate}/s}}]}}"),
            ));
        }
        let documents: Vec<_> =
            documents.iter().map(|(kind, name, spec)| (*kind, name.as_str(), spec.as_str())).collect();
        crate::resource::tests::model(&documents)
    }

    fn fleets_of(&self, gateways: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
        gateways.into_iter().map(|gateway| format!("fleet-{}", self.gateways[gateway].0)).collect()
    }
}

fn builder() -> Builder {
    Builder::new("5ha", Revisions::default())
}

fn mentions(snapshot: &Snapshot, name: &str) -> bool {
    Kind::ALL
        .into_iter()
        .flat_map(|kind| snapshot.set(kind).iter())
        .any(|resource| resource.any(Form::First).windows(name.len()).any(|window| window == name.as_bytes()))
}

/// The names of the route configurations that a snapshot's listeners ask for.
fn asked_for(snapshot: &Snapshot) -> Vec<String> {
    let mut names = Vec::new();
    for resource in snapshot.set(Kind::Listener).iter() {
        let any = Any::decode(resource.any(Form::First)).unwrap();
        let listener = Listener::decode(&*any.value).unwrap();
        let filters = listener.filter_chains.iter().flat_map(|chain| &chain.filters);
        for filter in filters {
            let Some(ConfigType::TypedConfig(any)) = &filter.config_type else { continue };
            if any.type_url != HttpConnectionManager::type_url() {
                continue;
            }
            let manager = HttpConnectionManager::decode(&*any.value).unwrap();
            if let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier {
                names.push(rds.route_config_name);
            }
        }
    }
    names
}

/// Every version of every resource, of every fleet.
fn versions(snapshots: &BTreeMap<String, Arc<Snapshot>>) -> String {
    let mut text = String::new();
    for (fleet, snapshot) in snapshots {
        for kind in Kind::ALL {
            for resource in snapshot.set(kind).iter() {
                let _ = writeln!(text, "{fleet} {kind:?} {} {}", resource.name(), resource.version());
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_snapshot_refers_to_nothing_that_it_lacks(site in site()) {
        for (fleet, snapshot) in builder().build(&site.model(), 1) {
            for number in 0..site.backends {
                let name = backend(number);
                let both = [Kind::Cluster, Kind::Endpoints].map(|kind| snapshot.set(kind).get(&name).is_some());
                prop_assert_eq!(both, [mentions(snapshot, &name); 2], "{} in {}", name, fleet);
            }
            for name in asked_for(snapshot) {
                prop_assert!(snapshot.set(Kind::Route).get(&name).is_some(), "{} in {}", name, fleet);
            }
            for number in 0..site.gateways.len() {
                let name = format!("spillway/gateway-{number}-end");
                prop_assert_eq!(mentions(snapshot, &name), snapshot.set(Kind::ExtensionConfig).get(&name).is_some());
            }
        }
    }

    #[test]
    fn an_edit_changes_the_fleets_that_it_is_about_and_no_other(
        (before, route, policy) in site().prop_flat_map(|site| (Just(site), any::<prop::sample::Index>(), any::<prop::sample::Index>()))
    ) {
        let mut after = before.clone();
        let (mut touched, mut limited) = (BTreeSet::new(), BTreeSet::new());
        if !after.routes.is_empty() {
            let (parents, rules) = &mut after.routes[route.index(before.routes.len())];
            if let Some(weight) = rules[0].values_mut().next() {
                *weight += 1;
            }
            touched.extend(before.fleets_of(parents.iter().copied()));
        }
        if !after.policies.is_empty() {
            let (gateway, rate) = &mut after.policies[policy.index(before.policies.len())];
            *rate += 1;
            limited = before.fleets_of([*gateway]);
            touched.extend(limited.iter().cloned());
        }
        let mut builder = builder();
        let first = builder.build(&before.model(), 1).clone();
        let second = builder.build(&after.model(), 2);
        for (fleet, old) in &first {
            let same = Kind::ALL.into_iter().all(|kind| Arc::ptr_eq(old.set(kind), second[fleet].set(kind)));
            // The weight of an only Backend says nothing, so an edit of a route may change nothing.
            prop_assert!(same || touched.contains(fleet), "{}", fleet);
            prop_assert!(!same || !limited.contains(fleet), "{}", fleet);
        }
        // Taking it back gives the old versions, but for filters: those never go back to an earlier revision.
        let third = builder.build(&before.model(), 3);
        for (fleet, old) in &first {
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::ExtensionConfig) {
                prop_assert_eq!(old.set(kind).version(), third[fleet].set(kind).version());
            }
        }
    }
}

/// A site with more than one of everything that could come in some order.
fn example() -> Site {
    let everything: BTreeMap<usize, u32> = (0..7).map(|backend| (backend, 1)).collect();
    Site {
        gateways: vec![(0, 2), (1, 2), (0, 1)],
        routes: vec![([0, 1, 2].into(), vec![everything; 20]), ([1].into(), vec![[(3, 1)].into(); 2])],
        backends: 7,
        policies: vec![(0, 1), (1, 2), (0, 3)],
    }
}

const PRINTED: &str = "versions in another process: ";

#[test]
#[ignore = "prints what the next test compares"]
fn prints_versions() {
    for line in versions(builder().build(&example().model(), 1)).lines() {
        println!("{PRINTED}{line}");
    }
}

#[test]
fn every_process_gives_the_same_versions() {
    let here = versions(builder().build(&example().model(), 1));
    assert!(here.lines().count() > 20, "{here}");
    for _ in 0..2 {
        // Hash maps have other seeds in every process.
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "snapshot::consistency::prints_versions"])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = printed.lines().filter_map(|line| line.split_once(PRINTED));
        let there = lines.map(|(_, line)| format!("{line}\n")).collect::<Vec<_>>().concat();
        assert_eq!(there, here);
    }
}
