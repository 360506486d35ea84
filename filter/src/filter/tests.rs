use super::*;
use crate::host::fake::{Fake, Response};

const ROOT: u32 = 1;
const SECOND: u64 = 1_000_000_000;

const LIMIT: &str = r#"{"policies": [{
    "name": "api",
    "routeKey": [{"header": "x-tenant-id"}],
    "rateLimits": [{"name": "per-tenant", "key": ["routeKey"], "rate": "1/s", "burst": 2}]
}]}"#;

const BREAKER: &str = r#"{"policies": [{
    "name": "api",
    "circuitBreakers": [{
        "name": "orders", "key": ["backend"], "window": "10s", "minRequests": 3,
        "trip": {"errorRatio": "50%"}, "openFor": "2s", "probes": 1
    }]
}]}"#;

/// A worker's VM, and the next stream's number.
struct Worker {
    host: Fake,
    filter: Filter<Fake>,
    next: u32,
}

impl Worker {
    fn on(host: &Fake, json: &str) -> Self {
        let mut worker = Self { host: host.clone(), filter: Filter::new(host.clone()), next: ROOT + 1 };
        assert!(worker.configure(ROOT, json), "{}", host.logged());
        worker
    }

    fn configure(&mut self, root: u32, json: &str) -> bool {
        self.host.begin(root);
        let size = self.host.configure(json);
        self.filter.on_configure(root, size)
    }

    fn begin(&mut self) -> (u32, Action) {
        let stream = self.next;
        self.next += 1;
        self.host.begin(stream);
        (stream, self.filter.on_request_headers(stream, true))
    }

    fn end(&mut self, stream: u32) {
        self.filter.on_log(stream);
        self.host.end(stream);
    }

    /// A whole request that is answered with `status` after 10 ms: workers tell each other of outcomes every few milliseconds.
    fn request(&mut self, status: &[u8]) -> Action {
        let (stream, action) = self.begin();
        self.host.pass(SECOND / 100);
        self.host.response(&[(":status", status)]);
        self.end(stream);
        action
    }
}

#[test]
fn a_request_over_the_limit_is_told_by_whom_and_until_when() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, LIMIT);
    host.request(&[("x-tenant-id", b"acme")]);
    assert_eq!([worker.request(b"200"), worker.request(b"200")], [Action::Continue; 2]);
    assert_eq!(worker.request(b"429"), Action::Stop);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = Response {
        status: 429,
        details: "spillway_rate_limit".to_owned(),
        body: "rejected by rate-limit/api/per-tenant".to_owned(),
        headers: vec![
            header("x-spillway-rejected-by", "rate-limit/api/per-tenant"),
            header("retry-after", "1"),
        ],
        grpc_status: 8,
    };
    assert_eq!(host.responses(), [expected]);

    host.pass(SECOND);
    assert_eq!(worker.request(b"200"), Action::Continue);
    worker.filter.on_tick(ROOT);
    assert_eq!(host.counter("spillway_requests"), 4);
    assert_eq!(host.counter("spillway_rejected.kind.rate-limit.policy.api.rule.per-tenant"), 1);
}

#[test]
fn the_key_is_set_if_it_can_be_a_header() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, LIMIT);
    for tenant in [&b"acme"[..], b"\xff\xfe", b"caf\xc3\xa9", &[b'x'; 200]] {
        host.request(&[("x-tenant-id", tenant)]);
        assert_eq!(worker.request(b"200"), Action::Continue);
        assert_eq!(host.property_set("spillway_key").as_deref(), Some(tenant));
    }
    host.request(&[("x-tenant-id", &b"x".repeat(60_000))]);
    worker.request(b"200");
    assert!(host.property_set("spillway_key").is_some_and(|key| key.len() <= 256));
    for key in [&b"a\r\nx-admin: yes"[..], b"\0", b"\x7f"] {
        host.request(&[("x-tenant-id", key)]);
        assert_eq!(worker.request(b"200"), Action::Continue);
        assert_eq!(host.property_set("spillway_key"), None, "{key:?} is not shown");
    }
    host.request(&[]);
    worker.request(b"200");
    assert_eq!(host.property_set("spillway_key"), None, "no header, no key");
}

/// Host calls of one request, after others have warmed up what is kept between requests. Each costs up to a microsecond; a figure that grows
/// here is one that users pay.
fn host_calls(json: &str, status: &[u8]) -> usize {
    let host = Fake::default();
    let mut worker = Worker::on(&host, json);
    host.request(&[("x-tenant-id", b"acme")]);
    host.attribute("xds\0cluster_name", b"orders-v1");
    host.attribute("response\0flags", &0_u64.to_le_bytes());
    worker.request(status);
    worker.request(status);
    let (stream, _) = worker.begin();
    host.response(&[(":status", status)]);
    worker.end(stream);
    host.count();
    let (stream, _) = worker.begin();
    worker.end(stream);
    host.count()
}

#[test]
fn a_request_costs_few_host_calls() {
    let nothing = r#"{"policies": []}"#;
    assert_eq!(host_calls(nothing, b"200"), 1, "the clock");
    let leased = r#"{"policies": [{"name": "p", "rateLimits": [{"name": "r", "rate": "100000/s"}]}]}"#;
    assert_eq!(host_calls(leased, b"200"), 1, "the clock, while the lease lasts");
    let keyed = LIMIT.replace("1/s", "1000/s").replace("\"burst\": 2", "\"burst\": 9");
    assert_eq!(
        host_calls(&keyed, b"200"),
        5,
        "the clock, the header, the key, the bucket's record read and written"
    );
    assert_eq!(host_calls(BREAKER, b"200"), 5, "the clock twice, the backend, status and flags");
    assert_eq!(
        host_calls(LIMIT, b"200"),
        5,
        "a reject: the clock, the header, the key, the decision, the answer, while the bucket is known to be empty"
    );
}

#[test]
fn workers_share_a_bucket() {
    let host = Fake::default();
    let (mut one, mut other) = (Worker::on(&host, LIMIT), Worker::on(&host, LIMIT));
    host.request(&[("x-tenant-id", b"acme")]);
    let actions = [one.request(b"200"), other.request(b"200"), one.request(b"200"), other.request(b"200")];
    assert_eq!(actions.iter().filter(|action| action.is_stopped()).count(), 2);
}

#[test]
fn a_breaker_opens_on_what_on_log_tells_and_closes_after_a_probe_without_retries() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, BREAKER);
    host.attribute("xds\0cluster_name", b"orders-v1");
    for _ in 0..3 {
        assert_eq!(worker.request(b"500"), Action::Continue);
    }
    assert_eq!(worker.request(b"503"), Action::Stop);
    assert_eq!(host.responses().first().map(|response| response.status), Some(503));
    host.attribute("xds\0cluster_name", b"orders-v2");
    assert_eq!(worker.request(b"200"), Action::Continue, "another backend has another breaker");

    host.attribute("xds\0cluster_name", b"orders-v1");
    host.pass(3 * SECOND);
    host.calls();
    let (probe, action) = worker.begin();
    assert_eq!(action, Action::Continue);
    assert!(host.calls().contains(&"set header x-envoy-max-retries: 0".to_owned()));
    assert_eq!(worker.request(b"503"), Action::Stop, "one probe is all");
    host.response(&[(":status", b"200")]);
    worker.end(probe);
    assert_eq!(worker.request(b"200"), Action::Continue);

    for (state, count) in [("open", 1), ("half-open", 1), ("closed", 1)] {
        assert_eq!(
            host.counter(&format!("spillway_breaker.policy.api.rule.orders.to.{state}")),
            count,
            "{state}"
        );
    }
    assert!(host.logged().contains("breaker api/orders is open"), "{}", host.logged());
}

#[test]
fn clients_that_go_away_open_no_breaker() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, BREAKER);
    host.attribute("xds\0cluster_name", b"orders-v1");
    for _ in 0..20 {
        let (stream, action) = worker.begin();
        assert_eq!(action, Action::Continue);
        worker.end(stream);
    }
}

#[test]
fn a_bad_configuration_is_refused_with_its_reason_and_writes_nothing() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, LIMIT);
    let bad = ["", "[]", "{\"policies\": 1}", "{\"policies\": [], \"surprise\": 1}", "\u{0}"];
    for (root, json) in (ROOT + 100..).zip(bad) {
        assert!(!worker.configure(root, json), "{json}");
        assert!(host.logged().contains("configuration refused"), "{json}");
    }
    assert_eq!(host.shared_keys(), 0);
    host.request(&[("x-tenant-id", b"acme")]);
    let actions = [worker.request(b"200"), worker.request(b"200"), worker.request(b"200")];
    assert_eq!(actions, [Action::Continue, Action::Continue, Action::Stop], "the old one stays in force");
}

#[test]
fn a_stream_keeps_the_configuration_that_it_began_under() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, BREAKER);
    host.attribute("xds\0cluster_name", b"orders-v1");
    let old: Vec<_> = (0..3).map(|_| worker.begin().0).collect();
    let second = ROOT + 100;
    assert!(worker.configure(second, LIMIT));
    host.request(&[("x-tenant-id", b"acme")]);
    assert_eq!(worker.begin().1, Action::Continue, "the new one has no breaker");
    host.pass(SECOND / 100);
    host.response(&[(":status", b"500")]);
    for stream in old {
        worker.end(stream);
        host.pass(SECOND / 100);
    }
    let opened = "spillway_breaker.policy.api.rule.orders.to.open";
    assert_eq!(host.counter(opened), 1, "their outcomes counted where they began");
    assert_eq!(worker.begin().1, Action::Continue);
}

#[test]
fn plugins_of_several_names_in_one_vm_are_told_apart() {
    let host = Fake::default();
    host.attribute("plugin_name", b"spillway/edge");
    let mut worker = Worker::on(&host, LIMIT);
    host.request(&[("x-tenant-id", b"acme")]);
    host.calls();
    worker.begin();
    assert!(!host.calls().contains(&"property plugin_name".to_owned()), "one name need not be asked for");

    host.attribute("plugin_name", b"spillway/inner");
    assert!(worker.configure(ROOT + 1, r#"{"policies": []}"#));
    let newer = LIMIT.replacen('{', r#"{"revision": 1, "#, 1);
    assert!(worker.configure(ROOT + 2, &newer));
    assert!(host.logged().is_empty(), "{}", host.logged());
    // The first of these would be the newest of all, were it not for the names.
    host.attribute("plugin_name", b"spillway/edge");
    let edge: Vec<_> = (0..4).map(|_| worker.begin().1).collect();
    host.attribute("plugin_name", b"spillway/inner");
    let inner = worker.begin().1;
    assert_eq!(edge.iter().filter(|action| action.is_stopped()).count(), 3, "of two tokens one was left");
    assert_eq!(inner, Action::Stop, "which the edge has taken: the buckets have one name");

    host.end(ROOT);
    worker.filter.on_tick(ROOT + 2);
    host.calls();
    worker.begin();
    assert!(!host.calls().contains(&"property plugin_name".to_owned()), "the other name is gone");
}

#[test]
fn two_configurations_of_one_name_are_a_mistake_that_is_said() {
    let host = Fake::default();
    host.attribute("plugin_name", b"spillway/edge");
    let mut worker = Worker::on(&host, LIMIT);
    assert!(worker.configure(ROOT + 1, r#"{"policies": []}"#));
    assert!(host.logged().contains("Give each plugin a name of its own"), "{}", host.logged());
}

#[test]
fn the_access_log_hears_who_rejected_or_would_have() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, LIMIT);
    host.request(&[("x-tenant-id", b"acme")]);
    worker.request(b"200");
    worker.request(b"200");
    assert_eq!(host.property_set("spillway_decision"), None);
    worker.request(b"429");
    let expected = Some(b"rate-limit/api/per-tenant".to_vec());
    assert_eq!(host.property_set("spillway_decision"), expected);

    let shadow = LIMIT.replacen("\"burst\": 2", "\"burst\": 2, \"mode\": \"shadow\"", 1);
    let mut other = Worker::on(&host, &shadow);
    assert_eq!(other.request(b"200"), Action::Continue);
    assert_eq!(host.property_set("spillway_decision"), expected);
}

#[test]
fn spans_hear_the_parts_of_a_reject_where_there_are_spans() {
    let parts = ["spillway_kind", "spillway_policy", "spillway_rule", "spillway_error"];
    for traced in [false, true] {
        let host = Fake::default();
        let configuration = LIMIT.replacen('{', &format!("{{\"traced\": {traced}, "), 1);
        let mut worker = Worker::on(&host, &configuration);
        host.request(&[("x-tenant-id", b"acme")]);
        worker.request(b"200");
        worker.request(b"200");
        assert_eq!(parts.map(|part| host.property_set(part)), [const { None }; 4]);
        worker.request(b"429");
        let told = ["rate-limit", "api", "per-tenant", "true"];
        let told = told.map(|part| traced.then(|| part.as_bytes().to_vec()));
        assert_eq!(parts.map(|part| host.property_set(part)), told);
    }
}

#[test]
fn a_probe_for_a_breaker_in_shadow_mode_may_be_retried() {
    let host = Fake::default();
    let shadow = BREAKER.replacen("\"probes\": 1", "\"probes\": 1, \"mode\": \"shadow\"", 1);
    let mut worker = Worker::on(&host, &shadow);
    host.attribute("xds\0cluster_name", b"orders-v1");
    for _ in 0..5 {
        assert_eq!(worker.request(b"500"), Action::Continue);
    }
    host.pass(3 * SECOND);
    host.calls();
    worker.request(b"200");
    assert_eq!(host.counter("spillway_breaker.policy.api.rule.orders.to.half-open"), 1, "it was a probe");
    assert!(!host.calls().iter().any(|call| call.starts_with("set header")));
}

#[test]
fn what_has_ended_is_forgotten_even_where_nobody_says_so() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, BREAKER);
    host.attribute("xds\0cluster_name", b"orders-v1");
    let (kept, _) = worker.begin();
    let lost: Vec<_> = (0..100).map(|_| worker.begin().0).collect();
    assert_eq!(worker.filter.streams.len(), 101);
    for stream in lost {
        host.end(stream);
    }
    let second = ROOT + 1000;
    assert!(worker.configure(second, LIMIT));
    assert_eq!(worker.filter.roots.len(), 2, "the host still knows both");
    for _ in 0..20 {
        worker.filter.on_tick(second);
    }
    assert_eq!(worker.filter.streams.keys().collect::<Vec<_>>(), [&kept]);
    host.end(ROOT);
    worker.filter.on_tick(second);
    assert_eq!(worker.filter.roots.len(), 1);
    assert_eq!(host.effective_context(), second, "further calls are about the context that was called");
    assert!(worker.filter.streams.is_empty(), "the host keeps a configuration as long as its streams");
}

#[test]
fn rejected_and_unwatched_streams_are_not_kept() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, LIMIT);
    for _ in 0..10 {
        worker.begin();
    }
    assert!(worker.filter.streams.is_empty());
    assert_eq!(host.tick_period(), Some(TICK_MILLIS));
}

#[test]
fn streams_that_nobody_introduced_pass() {
    let host = Fake::default();
    let mut filter = Filter::new(host);
    assert_eq!(filter.on_request_headers(7, false), Action::Continue);
    filter.on_log(8);
    filter.on_log(9);
    filter.on_tick(5);
    assert!(filter.streams.is_empty());
}

#[test]
fn without_shared_data_requests_pass_and_the_failures_are_counted() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, LIMIT);
    host.break_shared_data();
    host.request(&[("x-tenant-id", b"acme")]);
    for _ in 0..10 {
        assert_eq!(worker.request(b"200"), Action::Continue);
    }
    worker.filter.on_tick(ROOT);
    assert!(host.counter("spillway_store_failures") > 0);
}

/// Every kind of rule that has a gauge, with keys from requests.
const STANDINGS: &str = r#"{"policies": [{
    "name": "api",
    "circuitBreakers": [{
        "name": "orders", "key": [{"header": "x-tenant-id"}], "window": "10s", "minRequests": 3,
        "trip": {"errorRatio": "50%"}, "openFor": "2s", "probes": 1
    }],
    "concurrency": [{"name": "places", "key": [{"header": "x-tenant-id"}], "max": 4}],
    "rateLimits": [{"name": "per-tenant", "key": [{"header": "x-tenant-id"}], "rate": "1/s", "burst": 9}],
    "priority": {"from": [{"header": "x-priority"}], "default": "high", "levels": ["high", "low"]},
    "degrade": [{"name": "mild", "when": {"saturation": "75%"}, "shed": ["low"]}]
}]}"#;

impl Worker {
    /// So much time goes by, with ticks of all these.
    fn ticks(workers: &mut [&mut Self], root: u32, nanos: u64) {
        for _ in 0..nanos / (SECOND / 20) {
            let Some(host) = workers.first().map(|worker| worker.host.clone()) else { return };
            host.pass(SECOND / 20);
            for worker in &mut *workers {
                worker.filter.on_tick(root);
            }
        }
    }
}

fn standing(host: &Fake, metric: &str) -> Option<u64> {
    let (metric, rest) = metric.split_once(' ').unwrap_or((metric, ""));
    host.metric(&format!("spillway_{metric}.policy.api.rule.{rest}"))
}

#[test]
fn gauges_show_how_rules_stand_over_all_workers() {
    let host = Fake::default();
    let (mut one, mut other) = (Worker::on(&host, STANDINGS), Worker::on(&host, STANDINGS));
    other.next = 10_000;
    host.request(&[("x-tenant-id", b"acme")]);
    let held = [one.begin().0, one.begin().0, other.begin().0];
    Worker::ticks(&mut [&mut one, &mut other], ROOT, 2 * SECOND);
    let shown = |metric: &str| standing(&host, metric);
    assert_eq!(shown("in_flight places"), Some(3));
    assert_eq!(shown("concurrency_limit places"), Some(4));
    assert_eq!(shown("saturation_percent places"), Some(75));
    assert_eq!(shown("degrade_in_force mild"), Some(1));
    let last = one.begin().0;
    host.request(&[("x-tenant-id", b"umbrella"), ("x-priority", b"low")]);
    assert_eq!(one.begin().1, Action::Stop);

    host.response(&[(":status", b"500")]);
    for stream in [held[0], held[1], last] {
        one.end(stream);
    }
    other.end(held[2]);
    Worker::ticks(&mut [&mut one, &mut other], ROOT, SECOND);
    assert_eq!(shown("shed mild.level.low"), Some(1));
    assert_eq!(shown("shed mild.level.high"), None, "the rule is about the low");
    assert_eq!(shown("in_flight places"), Some(0));
    assert_eq!(shown("saturation_percent places"), Some(100), "lately");
    assert_eq!(shown("breaker_state orders.state.open"), Some(1));
    assert_eq!(shown("breaker_state orders.state.half-open"), Some(0));

    Worker::ticks(&mut [&mut one, &mut other], ROOT, 12 * SECOND);
    assert_eq!(shown("saturation_percent places"), Some(0));
    host.request(&[("x-tenant-id", b"acme")]);
    let (probe, _) = other.begin();
    Worker::ticks(&mut [&mut one, &mut other], ROOT, SECOND);
    let states = || ["open", "half-open"].map(|state| shown(&format!("breaker_state orders.state.{state}")));
    assert_eq!(states(), [Some(0), Some(1)]);
    host.response(&[(":status", b"200")]);
    other.end(probe);
    Worker::ticks(&mut [&mut one, &mut other], ROOT, SECOND);
    assert_eq!(states(), [Some(0), Some(0)]);
}

#[test]
fn what_is_in_flight_leaks_with_no_stream_no_configuration_and_no_vm() {
    let host = Fake::default();
    let (mut one, mut other) = (Worker::on(&host, STANDINGS), Worker::on(&host, STANDINGS));
    other.next = 10_000;
    host.request(&[("x-tenant-id", b"acme")]);
    let shown = || standing(&host, "in_flight places");
    // The host forgets this one.
    let (lost, _) = one.begin();
    host.end(lost);
    let (kept, _) = one.begin();
    other.begin();
    Worker::ticks(&mut [&mut one, &mut other], ROOT, SECOND);
    assert_eq!(shown(), Some(2));

    // Another configuration of the same rules; the old one goes while one of its streams is still known.
    let second = ROOT + 1;
    host.attribute("plugin_name", b"spillway/edge");
    let newer = STANDINGS.replacen('{', r#"{"revision": 1, "#, 1);
    assert!(one.configure(second, &newer) && other.configure(second, &newer));
    one.next = 500;
    one.begin();
    for root in [ROOT, second] {
        Worker::ticks(&mut [&mut one, &mut other], root, SECOND);
    }
    assert_eq!(shown(), Some(3), "of both configurations");
    one.end(kept);
    host.end(ROOT);
    Worker::ticks(&mut [&mut one, &mut other], second, SECOND);
    assert_eq!(shown(), Some(1), "what began under a configuration that is no more is over");
    assert_eq!((one.filter.roots.len(), other.filter.streams.len()), (1, 0));

    // A VM that breaks down takes its requests with it, five seconds later.
    drop(one);
    Worker::ticks(&mut [&mut other], second, SECOND);
    assert_eq!(shown(), Some(1));
    Worker::ticks(&mut [&mut other], second, 6 * SECOND);
    assert_eq!(shown(), Some(0));
}

#[test]
fn gauges_of_a_rule_that_is_removed_fall_to_nothing() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, STANDINGS);
    host.request(&[("x-tenant-id", b"acme")]);
    for _ in 0..3 {
        worker.request(b"500");
    }
    Worker::ticks(&mut [&mut worker], ROOT, SECOND);
    let open = || standing(&host, "breaker_state orders.state.open");
    assert_eq!(open(), Some(1));
    let second = ROOT + 1000;
    assert!(worker.configure(second, r#"{"policies": []}"#));
    host.end(ROOT);
    Worker::ticks(&mut [&mut worker], second, 30 * SECOND);
    assert_eq!(open(), Some(0));
    assert_eq!(standing(&host, "concurrency_limit places"), Some(0));
    // It comes back when its state has been forgotten.
    let third = second + 1;
    assert!(worker.configure(third, STANDINGS));
    Worker::ticks(&mut [&mut worker], third, SECOND);
    assert_eq!((open(), standing(&host, "concurrency_limit places")), (Some(0), Some(4)));
}

#[test]
fn gauges_of_thousands_of_rules_stay_however_long_a_round_takes() {
    let host = Fake::default();
    let configuration = |revision: u32, rules: u32| {
        let rules: Vec<_> = (0..rules).map(|rule| format!(r#"{{"name": "c{rule}", "max": 7}}"#)).collect();
        let rules = rules.join(",");
        format!(r#"{{"revision": {revision}, "policies": [{{"name": "api", "concurrency": [{rules}]}}]}}"#)
    };
    let mut worker = Worker::on(&host, &configuration(1, 1));
    let [second, third] = [ROOT + 1, ROOT + 2];
    assert!(worker.configure(second, &configuration(2, 6_500)));
    let limit = || standing(&host, "concurrency_limit c0");
    Worker::ticks(&mut [&mut worker], second, SECOND);
    assert_eq!(limit(), Some(7));
    for _ in 0..120 {
        Worker::ticks(&mut [&mut worker], second, SECOND / 20);
        assert_eq!(limit(), Some(7));
    }
    assert!(worker.configure(third, &configuration(3, 0)));
    Worker::ticks(&mut [&mut worker], third, SECOND / 20);
    assert_eq!(limit(), Some(0));
}

#[test]
fn traffic_makes_no_metrics() {
    for (configuration, requests) in [(LIMIT, 65_536_u32), (STANDINGS, 4_096)] {
        let host = Fake::default();
        let mut worker = Worker::on(&host, configuration);
        let before = host.metrics();
        for number in 0..requests {
            let key = number.to_string();
            let key = key.as_bytes();
            host.request(&[("x-tenant-id", key), ("x-priority", key), (":path", key)]);
            worker.request(if number % 2 == 0 { b"500" } else { b"200" });
            if number % 1_000 == 0 {
                worker.filter.on_tick(ROOT);
                host.calls();
            }
        }
        Worker::ticks(&mut [&mut worker], ROOT, SECOND);
        assert_eq!(host.metrics(), before);
        assert_eq!(host.counter("spillway_requests"), u64::from(requests));
    }
}

#[test]
fn writes_that_others_were_faster_with_are_counted() {
    let host = Fake::default();
    let mut worker = Worker::on(&host, LIMIT);
    host.request(&[("x-tenant-id", b"acme")]);
    worker.request(b"200");
    host.conflict(3);
    assert_eq!(worker.request(b"200"), Action::Continue);
    worker.filter.on_tick(ROOT);
    assert_eq!(host.counter("spillway_store_retries"), 3);
    worker.filter.on_tick(ROOT);
    assert_eq!(host.counter("spillway_store_retries"), 3);
    assert_eq!(host.metric("spillway_store_failures"), None);
}
