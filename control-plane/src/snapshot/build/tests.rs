use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter::ConfigType};
use envoy_types::pb::envoy::config::route::v3::{
    RouteConfiguration, route::Action, route_action::ClusterSpecifier,
};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier, http_filter,
};
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config::Vm;
use envoy_types::pb::google::protobuf::{Any, StringValue};
use prost::Message;

use super::*;
use crate::resource::Kind;
use crate::resource::tests::model;
use crate::snapshot::Form;

type Document = (&'static str, &'static str, &'static str);

const EDGE: Document = (
    "Gateway",
    "edge",
    "{fleet: edge, listeners: [{name: web, port: 80, protocol: HTTP}, {name: alt, address: '::1', port: 81, protocol: HTTP}]}",
);
const INNER: Document =
    ("Gateway", "inner", "{fleet: inner, listeners: [{name: web, port: 80, protocol: HTTP}]}");
const ORDERS: Document = (
    "Route",
    "orders",
    "{parentRefs: [{name: edge}], rules: [{name: api, backendRefs: [{name: v1}, {name: v2, weight: 0}]}]}",
);
const USERS: Document =
    ("Route", "users", "{parentRefs: [{name: inner}], rules: [{name: api, backendRefs: [{name: u}]}]}");
const V1: Document = ("Backend", "v1", "{endpoints: [{address: 10.0.0.1, port: 80}]}");
const V2: Document = ("Backend", "v2", "{protocol: HTTP2, endpoints: []}");
const U: Document =
    ("Backend", "u", "{protocol: GRPC, endpoints: [{address: 10.0.0.3, port: 80, weight: 3}]}");
const UNUSED: Document = ("Backend", "unused", "{endpoints: []}");
const LIMIT: Document = (
    "TrafficPolicy",
    "limit",
    "{targetRefs: [{kind: Gateway, name: edge}], rateLimits: [{name: all, rate: 1/s}]}",
);
const ALL: [Document; 9] = [EDGE, INNER, ORDERS, USERS, V1, V2, U, UNUSED, LIMIT];

fn with(change: Document) -> Vec<Document> {
    let same = |one: &Document| (one.0, one.1) == (change.0, change.1);
    ALL.into_iter().map(|one| if same(&one) { change } else { one }).collect()
}

fn builder() -> Builder {
    Builder::new("5ha", Revisions::default())
}

fn names(snapshot: &Snapshot, kind: Kind) -> Vec<&str> {
    snapshot.set(kind).iter().map(|resource| &**resource.name()).collect()
}

fn decode<M: Message + Default>(snapshot: &Snapshot, kind: Kind) -> Vec<M> {
    let any = |resource: &Arc<Resource>| Any::decode(resource.any(Form::First)).unwrap();
    snapshot.set(kind).iter().map(|resource| M::decode(&*any(resource).value).unwrap()).collect()
}

#[test]
fn a_fleet_gets_what_its_gateways_reach_and_nothing_else() {
    let mut builder = builder();
    let snapshots = builder.build(&model(&ALL), 1);
    let edge = &snapshots["edge"];
    assert_eq!(names(edge, Kind::Listener), ["0.0.0.0:80", "[::1]:81"]);
    assert_eq!(names(edge, Kind::Route), ["0.0.0.0:80", "[::1]:81"]);
    assert_eq!(names(edge, Kind::Cluster), ["v1", "v2"]);
    assert_eq!(names(edge, Kind::Endpoints), ["v1", "v2"]);
    assert_eq!(names(edge, Kind::ExtensionConfig), ["spillway/edge"]);
    assert_eq!(names(&snapshots["inner"], Kind::Cluster), ["u"]);
    assert_eq!(snapshots.len(), 2);
}

#[test]
fn nothing_refers_to_what_is_not_in_the_snapshot() {
    let mut builder = builder();
    for snapshot in builder.build(&model(&ALL), 1).values() {
        for listener in decode::<Listener>(snapshot, Kind::Listener) {
            let Some(ConfigType::TypedConfig(manager)) = &listener.filter_chains[0].filters[1].config_type
            else {
                panic!()
            };
            let manager = HttpConnectionManager::decode(&*manager.value).unwrap();
            let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier else { panic!() };
            assert!(snapshot.set(Kind::Route).get(&rds.route_config_name).is_some());
            let discovered = manager.http_filters.iter().filter(|filter| {
                matches!(filter.config_type, Some(http_filter::ConfigType::ConfigDiscovery(_)))
            });
            let discovered: Vec<_> = discovered.map(|filter| &*filter.name).collect();
            assert_eq!(discovered.len(), 1);
            assert!(snapshot.set(Kind::ExtensionConfig).get(discovered[0]).is_some());
        }
        let routes = decode::<RouteConfiguration>(snapshot, Kind::Route);
        let routes = routes.into_iter().flat_map(|config| config.virtual_hosts).flat_map(|host| host.routes);
        for route in routes {
            let Some(Action::Route(action)) = route.action else { panic!() };
            let Some(ClusterSpecifier::Cluster(cluster)) = action.cluster_specifier else { panic!() };
            assert!(snapshot.set(Kind::Cluster).get(&cluster).is_some());
        }
        assert_eq!(names(snapshot, Kind::Cluster), names(snapshot, Kind::Endpoints));
    }
}

#[test]
fn line_32_the_same_documents_give_the_same_bytes_and_versions() {
    let model = model(&ALL);
    let first = builder().build(&model, 7)["edge"].clone();
    // Every map has its own seed, so that what depended on one would differ sooner or later.
    for _ in 0..32 {
        assert_eq!(builder().build(&model, 7)["edge"], first);
    }
    // The clock is seen in the filter's revision and nowhere else.
    let later = builder().build(&model, 8)["edge"].clone();
    for kind in Kind::ALL {
        assert_eq!(later.set(kind) == first.set(kind), kind != Kind::ExtensionConfig, "{kind:?}");
    }
}

#[test]
fn one_fleets_edit_changes_nothing_for_the_others() {
    let mut builder = builder();
    let before = builder.build(&model(&ALL), 1).clone();
    let edit = with(("Backend", "v1", "{endpoints: [{address: 10.0.0.2, port: 80}]}"));
    let after = builder.build(&model(&edit), 2).clone();
    assert_eq!(before["inner"], after["inner"]);
    for kind in Kind::ALL {
        let same = Arc::ptr_eq(before["edge"].set(kind), after["edge"].set(kind));
        assert_eq!(same, kind != Kind::Endpoints, "{kind:?}");
        assert!(Arc::ptr_eq(before["inner"].set(kind), after["inner"].set(kind)));
    }
    // Within the set that changed, what did not is still the same in memory.
    let resource = |snapshots: &BTreeMap<String, Arc<Snapshot>>, name| {
        Arc::clone(snapshots["edge"].set(Kind::Endpoints).get(name).unwrap())
    };
    assert!(Arc::ptr_eq(&resource(&before, "v2"), &resource(&after, "v2")));
    assert_ne!(resource(&before, "v1"), resource(&after, "v1"));
}

fn filter(snapshot: &Snapshot, form: Form) -> (serde_json::Value, Wasm) {
    let resource = snapshot.set(Kind::ExtensionConfig).get("spillway/edge").unwrap();
    let any = Any::decode(resource.any(form)).unwrap();
    let config = TypedExtensionConfig::decode(&*any.value).unwrap();
    let wasm = Wasm::decode(&*config.typed_config.unwrap().value).unwrap();
    let json = wasm.config.clone().unwrap().configuration.unwrap();
    let json = StringValue::decode(&*json.value).unwrap().value;
    (serde_json::from_str(&json).unwrap(), wasm)
}

#[test]
fn a_changed_limit_has_a_greater_revision_and_other_edits_have_not() {
    let mut builder = builder();
    let revision = |builder: &mut Builder, documents: &[Document], now| {
        filter(&builder.build(&model(documents), now)["edge"], Form::First).0["revision"].as_u64().unwrap()
    };
    assert_eq!(revision(&mut builder, &ALL, 100), 100);
    let endpoint = with(("Backend", "v1", "{endpoints: []}"));
    assert_eq!(revision(&mut builder, &endpoint, 200), 100);
    let limit = with((
        "TrafficPolicy",
        "limit",
        "{targetRefs: [{kind: Gateway, name: edge}], rateLimits: [{name: all, rate: 2/s}]}",
    ));
    assert_eq!(revision(&mut builder, &limit, 300), 300);
    assert_eq!(revision(&mut builder, &ALL, 300), 301);
}

#[test]
fn a_proxy_that_runs_must_refuse_a_module_it_does_not_have_and_one_that_starts_must_wait_for_it() {
    let snapshot = builder().build(&model(&ALL), 1)["edge"].clone();
    let vm = |form| {
        let Some(Vm::VmConfig(vm)) = filter(&snapshot, form).1.config.unwrap().vm else { panic!() };
        vm
    };
    assert!(!vm(Form::First).nack_on_code_cache_miss);
    assert!(vm(Form::Update).nack_on_code_cache_miss);
    assert!(vm(Form::Again(7)).nack_on_code_cache_miss);
    assert_eq!(filter(&snapshot, Form::Again(7)).0, filter(&snapshot, Form::First).0);
}

#[test]
fn a_proxy_with_a_module_of_its_own_gets_the_same_filter_from_its_disk() {
    let snapshot = builder().build(&model(&ALL), 1)["edge"].clone();
    let local = snapshot.with_local_module("/opt/filter.wasm");
    assert_eq!(filter(&local, Form::First).0, filter(&snapshot, Form::First).0);
    for form in [Form::First, Form::Update, Form::Again(1)] {
        let Some(Vm::VmConfig(vm)) = filter(&local, form).1.config.unwrap().vm else { panic!() };
        assert!(!vm.nack_on_code_cache_miss);
        assert!(format!("{:?}", vm.code).contains("/opt/filter.wasm"));
    }
    assert!(Arc::ptr_eq(local.set(Kind::Cluster), snapshot.set(Kind::Cluster)));
}

#[test]
fn line_31_a_backend_without_endpoints_has_an_empty_assignment() {
    use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
    let snapshot = builder().build(&model(&ALL), 1)["edge"].clone();
    let assignments = decode::<ClusterLoadAssignment>(&snapshot, Kind::Endpoints);
    let hosts = |assignment: &ClusterLoadAssignment| {
        assignment.endpoints.iter().map(|locality| locality.lb_endpoints.len()).sum::<usize>()
    };
    let hosts: Vec<_> = assignments.iter().map(|one| (&*one.cluster_name, hosts(one))).collect();
    assert_eq!(hosts, [("v1", 1), ("v2", 0)]);
}

#[test]
fn a_gateway_without_listeners_publishes_its_filter_alone() {
    let documents = [("Gateway", "edge", "{fleet: mesh}"), LIMIT];
    let mut builder = builder();
    let mesh = &builder.build(&model(&documents), 1)["mesh"];
    let filled: Vec<_> = Kind::ALL.into_iter().filter(|kind| !names(mesh, *kind).is_empty()).collect();
    assert_eq!(filled, [Kind::ExtensionConfig]);
    assert_eq!(filter(mesh, Form::First).0["policies"][0]["name"], "limit");
}

#[test]
fn grpc_clients_are_told_to_report_their_load_and_envoys_of_other_fleets_get_the_cluster_without() {
    let documents = [
        (
            "Gateway",
            "shop",
            "{fleet: shop, listeners: [{name: c, port: 80, protocol: Proxyless, hostname: c.shop}]}",
        ),
        INNER,
        (
            "Route",
            "users",
            "{parentRefs: [{name: inner}, {name: shop}], rules: [{name: api, backendRefs: [{name: u}]}]}",
        ),
        U,
    ];
    let (model, mut builder) = (model(&documents), builder());
    for now in [1, 2] {
        let reported = |snapshot: &Snapshot| {
            let clusters: Vec<Cluster> = decode(snapshot, Kind::Cluster);
            clusters.iter().map(|one| one.lrs_server.is_some()).collect::<Vec<_>>()
        };
        let before = crate::snapshot::encoded();
        let snapshots = builder.build(&model, now);
        assert_eq!((reported(&snapshots["shop"]), reported(&snapshots["inner"])), (vec![true], vec![false]));
        assert!(now == 1 || crate::snapshot::encoded() == before, "both are remembered");
    }
}

#[test]
fn headers_are_set_where_a_policy_announces_something_and_nowhere_else() {
    let mut builder = builder();
    let mut now = 0;
    let mut set = |rest: &'static str| {
        now += 1;
        let spec = format!("{{targetRefs: [{{kind: Gateway, name: edge}}], {rest}}}").leak();
        let snapshots = builder.build(&model(&with(("TrafficPolicy", "limit", spec))), now);
        let configs: Vec<RouteConfiguration> = decode(&snapshots["edge"], Kind::Route);
        assert_eq!(configs.len(), 2);
        let names = configs
            .iter()
            .flat_map(|one| one.request_headers_to_add.iter().chain(&one.response_headers_to_add));
        let names: BTreeSet<_> = names.map(|one| one.header.clone().unwrap().key).collect();
        names.into_iter().collect::<Vec<_>>()
    };
    assert!(set("rateLimits: [{name: all, rate: 1/s}]").is_empty());
    assert_eq!(set("routeKey: [{header: x}]"), ["x-route-key"]);
    assert_eq!(
        set("rateLimits: [{name: all, rate: 1/s, rateLimitHeaders: true}]"),
        ["ratelimit", "ratelimit-policy"]
    );
    assert!(set("rateLimits: [{name: all, rate: 2/s}]").is_empty());
}
