//! What people get wrong, and what they are told.

use super::{errors, shown};

/// A document of which only `spec` is given, each line of it indented by two.
fn document(kind: &str, spec: &str) -> String {
    let spec: String = spec.lines().flat_map(|line| ["  ", line, "\n"]).collect();
    format!("apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n{spec}")
}

/// The errors of a document whose `spec` starts at line 5, column 3.
#[track_caller]
fn check(kind: &str, spec: &str, expected: &[&str]) {
    assert_eq!(shown(&document(kind, spec)), expected, "{spec}");
}

#[test]
fn collectors() {
    let web = "fleet: f\nlisteners: [{name: web, port: 80, protocol: HTTP}]\ntracing: ";
    let expected =
        "7:19 spec.tracing.otlp: expected HOST:PORT such as 127.0.0.1:4317 or collector.example.com:4317";
    for (collector, reason) in [
        ("http://collector:4317", ": without a scheme; what is spoken is OTLP over gRPC"),
        ("collector", ""),
        ("collector:0", ""),
        ("0.0.0.0:4317", ": a collector may listen there, but that is nowhere to send to"),
        ("[::]:4317", ": a collector may listen there, but that is nowhere to send to"),
        ("a..b:4317", ": that is no name of a host"),
    ] {
        let tracing = format!("{web}{{otlp: \"{collector}\"}}");
        check("Gateway", &tracing, &[&format!("{expected}, found {collector:?}{reason}")]);
    }
    check(
        "Gateway",
        &format!("{web}{{sampling: 101%}}"),
        &[
            "7:12 spec.tracing.otlp: the field `otlp` is missing",
            "7:23 spec.tracing.sampling: expected a ratio from 0% to 100% such as 50% or 0.5%, found \"101%\"",
        ],
    );
    let nothing = "spans are of requests that Envoys serve, and this Gateway has no listener whose protocol is HTTP or HTTPS";
    for listeners in ["", "{name: raw, port: 80, protocol: TCP}"] {
        let spec = format!("fleet: f\nlisteners: [{listeners}]\ntracing: {{otlp: \"c:4317\"}}");
        check("Gateway", &spec, &[&format!("7:12 spec.tracing: {nothing}")]);
    }
    let broken = "fleet: f\nlisteners: [{name: web, port: 80, protocol: http}]\ntracing: {otlp: \"c:4317\"}";
    check("Gateway", broken, &["6:47 spec.listeners[0].protocol: unknown value `http`"]);
}

#[test]
fn gateways() {
    check(
        "Gateway",
        "fleet: ''\nlisteners:\n- {name: Web, port: 0, protocol: http}\n- {port: 70000, address: localhost, protocol: HTTPS}",
        &[
            "5:10 spec.fleet: expected the node.cluster of a fleet of Envoys, found an empty string",
            "7:12 spec.listeners[0].name: expected 1 to 63 of a-z, 0-9 and -, with no - at either end, found \"Web\"",
            "7:23 spec.listeners[0].port: expected a whole number from 1 to 65535, found the number 0",
            "7:36 spec.listeners[0].protocol: unknown value `http`",
            "8:5 spec.listeners[1].name: the field `name` is missing",
            "8:12 spec.listeners[1].port: expected a whole number from 1 to 65535, found the number 70000",
            "8:28 spec.listeners[1].address: expected an IP address such as 10.0.0.1 or 2001:db8::1, found \"localhost\"",
            "8:49 spec.listeners[1].protocol: a listener that speaks TLS needs a certificate: tls: {certificateRefs: [...]}",
        ],
    );
    check(
        "Gateway",
        "listeners: web",
        &[
            "5:3 spec.fleet: the field `fleet` is missing",
            "5:14 spec.listeners: expected a list, found the string \"web\"",
        ],
    );
    check(
        "Gateway",
        "fleet:\nlisteners:",
        &[
            "5:8 spec.fleet: expected a string, found nothing",
            "6:12 spec.listeners: expected a list, found nothing",
        ],
    );
    check(
        "Gateway",
        "fleet: a\nlisteners:\n- {name: a, port: 1, protocol: HTTP}\n- {name: a, port: 1, protocol: HTTP, hostname: 'a.*'}",
        &[
            "8:12 spec.listeners[1].name: there is a listener `a` already",
            "8:21 spec.listeners[1].port: 0.0.0.0 port 1 is taken in fleet `a` by the listener at f.yaml:7",
            "8:50 spec.listeners[1].hostname: expected a host name such as orders.example.com or *.example.com, found \
             \"a.*\": a wildcard can only be the whole first label, as in *.example.com",
        ],
    );
}

#[test]
fn routes() {
    let gateway = "\n---\napiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {name: edge}\nspec: {fleet: f, listeners: \
                   [{name: web, port: 1, protocol: HTTP, hostname: '*.example.com'}, {name: b, port: 2, protocol: HTTP, hostname: b.com}]}\n---\n\
                   apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {name: v1}\nspec: {endpoints: []}\n";
    let check = |spec: &str, expected: &[&str]| {
        assert_eq!(shown(&(document("Route", spec) + gateway)), expected, "{spec}");
    };
    check(
        "parentRefs: []\nrules: []",
        &[
            "5:15 spec.parentRefs: a Route needs at least one Gateway that serves it",
            "6:10 spec.rules: a Route needs at least one rule",
        ],
    );
    check(
        "parentRefs: [{name: edge, sectionName: wed}, {name: egde}, {name: edge, port: 80}]\nrules:\n- {name: a}\n- {name: a, backendRefs: [{name: v2}]}",
        &[
            "5:42 spec.parentRefs[0].sectionName: the Gateway `edge` has no listener `wed`",
            "5:55 spec.parentRefs[1].name: there is no Gateway `egde`",
            "5:75 spec.parentRefs[2].port: unknown field `port`",
            "7:5 spec.rules[0].backendRefs: a rule needs at least one backendRef, or a RequestRedirect",
            "8:5 spec.rules[1]: another match of this Route is the same, so this one could never be chosen",
            "8:12 spec.rules[1].name: there is a rule `a` already",
            "8:36 spec.rules[1].backendRefs[0].name: there is no Backend `v2`",
        ],
    );
    check(
        "parentRefs: [{name: edge}]\nhostnames: [a.example.com, a.example.com, example.com, b.com, '*.com', http://x.com, 1.2.3.4]\nrules:\n- {name: a, backendRefs: [{name: v1, weight: 4294967295}, {name: v1, weight: 1}]}",
        &[
            "6:30 spec.hostnames[1]: the hostname `a.example.com` is there already",
            "6:45 spec.hostnames[2]: no listener that serves this Route serves `example.com`",
            "6:74 spec.hostnames[5]: expected a host name such as orders.example.com or *.example.com, found \"http://x.com\": without scheme and port",
            "6:88 spec.hostnames[6]: expected a host name, found the address \"1.2.3.4\"",
            "8:28 spec.rules[0].backendRefs: the weights add up to 4294967296, more than 4294967295",
            "8:68 spec.rules[0].backendRefs[1].name: there is a reference to `v1` already",
        ],
    );
    check(
        "parentRefs: [{name: edge}]\nrules:\n- name: a\n  backendRefs: [{name: v1, weight: -1}]\n  matches:\n  - {path: {value: orders}, method: get}\n  - path: {type: Prefix, value: '/a?b'}\n  - {path: {value: /a//b}, headers: [{name: x y, value: 1}, {name: X-Spillway-Key, value: ' a'}]}\n  - {method: 'G T', headers: [{name: a, value: ''}]}",
        &[
            "8:38 spec.rules[0].backendRefs[0].weight: expected a whole number from 0 to 4294967295, found the number -1",
            "10:22 spec.rules[0].matches[0].path.value: expected a path such as /orders, found \"orders\": it starts with /",
            "10:39 spec.rules[0].matches[0].method: expected GET, found \"get\": the case of methods matters",
            "11:20 spec.rules[0].matches[1].path.type: unknown value `Prefix`",
            "11:35 spec.rules[0].matches[1].path.value: expected a path such as /orders, found \"/a?b\": without query and fragment",
            "12:22 spec.rules[0].matches[2].path.value: expected a path such as /orders, found \"/a//b\": requests with //, /./ or /../ are normalised first, so it could never match",
            "12:47 spec.rules[0].matches[2].headers[0].name: expected the name of a header such as x-env, found \"x y\"",
            "12:59 spec.rules[0].matches[2].headers[0].value: expected a string, found the number 1",
            "12:70 spec.rules[0].matches[2].headers[1].name: \"X-Spillway-Key\" is taken out of every request before routing, so it could never match",
            "12:93 spec.rules[0].matches[2].headers[1].value: \" a\" starts or ends with a space, which a header's value never does",
            "13:16 spec.rules[0].matches[3].method: expected an HTTP method such as GET, found \"G T\"",
            "13:50 spec.rules[0].matches[3].headers[0].value: expected a value, found an empty string",
        ],
    );
    check(
        "parentRefs: [{name: edge}, {name: edge}]\nrules:\n- name: a\n  backendRefs: [{name: v1}]\n  matches:\n  - path: {value: /a/}\n  - {path: {type: PathPrefix, value: /a}}\n  - {headers: [{name: a, value: b}, {name: A, value: c}]}",
        &[
            "5:37 spec.parentRefs[1].name: there is a reference to `edge` already",
            "11:7 spec.rules[0].matches[1]: another match of this Route is the same, so this one could never be chosen",
            "12:46 spec.rules[0].matches[2].headers[1].name: the header `a` is matched already",
        ],
    );
}

#[test]
fn backends() {
    check("Backend", "protocol: HTTP3", &["5:13 spec.protocol: unknown value `HTTP3`"]);
    check(
        "Backend",
        "endpoints:\n- {address: 10.0.0.1, port: '80'}\n- {address: orders.svc, port: 80, weight: 0}\n- {address: 10.0.0.1, port: 1, wieght: 2}\n- {address: 10.0.0.1, port: 1}\n- 10.0.0.1:80",
        &[
            "6:31 spec.endpoints[0].port: expected a whole number from 1 to 65535, found the string \"80\"",
            "7:15 spec.endpoints[1].address: expected an IP address such as 10.0.0.1 or 2001:db8::1, found \"orders.svc\"",
            "8:34 spec.endpoints[2].wieght: unknown field `wieght`",
            "9:15 spec.endpoints[3].address: there is an endpoint 10.0.0.1 port 1 already",
            "10:5 spec.endpoints[4]: expected a mapping with `address`, `port`, `weight` and `zone`, found the string \"10.0.0.1:80\"",
        ],
    );
}

#[test]
fn policies() {
    check(
        "TrafficPolicy",
        "targetRefs: [{kind: Service, name: a}, {kind: Route, name: orders}]\nrouteKey:\n- {header: x, value: y}\n- [{value: ''}, {header: 5}]\n- anonymous\n- {headr: x-tenant}",
        &[
            "5:23 spec.targetRefs[0].kind: unknown value `Service`",
            "5:62 spec.targetRefs[1].name: there is no Route `orders`",
            "7:5 spec.routeKey[0]: expected exactly one source: template with key, header, method, query, cookie, grpc, sni, clientAddress or value",
            "8:14 spec.routeKey[1][0].value: expected at least one character",
            "8:28 spec.routeKey[1][1].header: expected a string, found the number 5",
            "9:5 spec.routeKey[2]: expected a source such as {header: x-tenant-id}, or a list of sources, found the string \"anonymous\"",
            "10:6 spec.routeKey[3].headr: unknown field `headr`",
        ],
    );
    check(
        "TrafficPolicy",
        "targetRefs: []\nrateLimits:\n- {name: a, rate: 0/s, burst: 0}\n- {name: b, rate: 5, key: [routeKye]}\n- {name: c}",
        &[
            "5:15 spec.targetRefs: a TrafficPolicy needs at least one target",
            "7:21 spec.rateLimits[0].rate: expected a rate above zero such as 100/s, 6000/m or 10/h, found \"0/s\"",
            "7:33 spec.rateLimits[0].burst: expected a whole number from 1 to 4294967295, found the number 0",
            "8:21 spec.rateLimits[1].rate: expected a rate above zero such as 100/s, 6000/m or 10/h, found the number 5",
            "8:30 spec.rateLimits[1].key[0]: unknown value `routeKye`",
            "9:5 spec.rateLimits[2].rate: the field `rate` is missing",
        ],
    );
    check(
        "TrafficPolicy",
        "targetRefs: []\ncircuitBreakers:\n- {name: a, window: 10, minRequests: 1.5, trip: {errorRatio: 0.5}, openFor: 1d, probes: yes}",
        &[
            "5:15 spec.targetRefs: a TrafficPolicy needs at least one target",
            "7:23 spec.circuitBreakers[0].window: expected a duration such as 250ms, 2s, 1m or 24h, found the number 10",
            "7:40 spec.circuitBreakers[0].minRequests: expected a whole number from 1 to 4294967295, found the number 1.5",
            "7:64 spec.circuitBreakers[0].trip.errorRatio: expected a ratio from 0% to 100% such as 50% or 0.5%, found the number 0.5",
            "7:79 spec.circuitBreakers[0].openFor: expected a duration such as 250ms, 2s, 1m or 24h, found \"1d\"",
            "7:91 spec.circuitBreakers[0].probes: expected a whole number from 1 to 4294967295, found the string \"yes\"",
        ],
    );
}

#[test]
fn envelopes() {
    assert_eq!(
        shown("a: 1\n"),
        [
            "1:1 a: unknown field `a`",
            "1:1 apiVersion: the field `apiVersion` is missing",
            "1:1 kind: the field `kind` is missing",
            "1:1 metadata: the field `metadata` is missing",
            "1:1 spec: the field `spec` is missing",
        ]
    );
    assert_eq!(
        shown("- a\n"),
        ["1:1 : expected a mapping with `apiVersion`, `kind`, `metadata` and `spec`, found a list"]
    );
    assert_eq!(
        shown("hello\n---\n~\n"),
        [
            "1:1 : expected a mapping with `apiVersion`, `kind`, `metadata` and `spec`, found the string \"hello\"",
            "3:1 : expected a mapping with `apiVersion`, `kind`, `metadata` and `spec`, found nothing",
        ]
    );
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: x_y, namespace: z}\nspec: 5\n";
    assert_eq!(
        shown(text),
        [
            "1:13 apiVersion: expected spillway.dev/v1, found \"gateway.networking.k8s.io/v1\"",
            "2:7 kind: unknown value `HTTPRoute`",
            "3:18 metadata.name: expected 1 to 63 of a-z, 0-9 and -, with no - at either end, found \"x_y\"",
            "3:23 metadata.namespace: unknown field `namespace`",
            "4:7 spec: expected a mapping with `parentRefs`, `hostnames` and `rules`, found the number 5",
        ]
    );
    assert_eq!(shown(&document("Rollout", "a: b")), ["2:7 kind: `Rollout` is not available yet"]);
    assert_eq!(
        shown(&document("Gateway", "[]")),
        ["5:3 spec: expected a mapping with `fleet`, `listeners`, `tracing` and `push`, found a list"]
    );
}

#[test]
fn names_are_unique_per_kind() {
    let backend = document("Backend", "endpoints: []");
    let gateway = document("Gateway", "fleet: x");
    let text = format!("{backend}---\n{gateway}---\n{backend}");
    assert_eq!(shown(&text), ["15:18 metadata.name: there is a Backend of this name already, at f.yaml:3"]);
}

#[test]
fn consequences_of_an_error_are_not_errors_of_their_own() {
    // A name that is misspelt is not missing too, and who refers to a document with errors refers to something.
    let text = document("Backend", "endpoints: [{adress: 10.0.0.1, port: 80}]")
        + "---\n"
        + &document(
            "Route",
            "parentRefs: [{name: x, sectionName: web}]\nrules: [{name: a, backendRefs: [{name: x}]}]",
        )
        + "---\n"
        + &document("Gateway", "fleet: f\nlisteners: [{nam: web, port: 1, protocol: HTTP}]");
    assert_eq!(
        shown(&text),
        [
            "5:16 spec.endpoints[0].adress: unknown field `adress`",
            "19:16 spec.listeners[0].nam: unknown field `nam`",
        ]
    );
    // Of a file that cannot be read to its end nobody knows what it has.
    let text = document("Route", "parentRefs: [{name: x}]\nrules: [{name: a, backendRefs: [{name: x}]}]")
        + "---\na: [\n";
    assert_eq!(shown(&text).len(), 1, "{:?}", shown(&text));
}

#[test]
fn a_flood_of_errors_is_cut_short() {
    let text = document("Gateway", &(0..500).map(|i| format!("f{i}: 1")).collect::<Vec<_>>().join("\n"));
    let errors = errors(text.as_bytes());
    assert_eq!(errors.len(), 101);
    assert!(errors.iter().any(|error| error.message.contains("the rest is not shown")));
}

#[test]
fn help_says_what_to_do() {
    let help = |kind: &str, spec: &str| {
        let errors = errors(document(kind, spec).as_bytes());
        errors.into_iter().find_map(|error| error.help).unwrap_or_default()
    };
    assert_eq!(help("Gateway", "fleet: 100"), "quote it: \"100\"");
    assert_eq!(help("Gateway", "fleet: true"), "quote it: \"true\"");
    assert_eq!(help("Gateway", "fleet:"), "leave the field out, or give it a value");
    assert_eq!(
        help("Gateway", "fleet: a\nlisteners: [{name: a, port: '80', protocol: HTTP}]"),
        "write 80 without quotes"
    );
    assert_eq!(help("Gateway", "fleet: a\nListeners: []"), "did you mean `listeners`?");
    assert_eq!(
        help("Gateway", "fleet: a\ngatewayClassName: x"),
        "write fleet: the node.cluster of the Envoys"
    );
    assert!(help("Gateway", "fleet: a\ncolour: x").starts_with("expected `fleet`"));
}

#[test]
fn large_files_with_many_errors_are_answered_in_bounded_time() {
    let start = std::time::Instant::now();
    let endpoints = |count: u32, each: &dyn Fn(u32) -> String| {
        let list: String = (0..count).flat_map(|i| ["- ".to_owned(), each(i), "\n".to_owned()]).collect();
        document("Backend", &format!("endpoints:\n{list}"))
    };
    // Wrong in every item, all the same, and wrong at the end only.
    let wrong = endpoints(4_000, &|_| "{address: 10.0.0.1, port: 0}".into());
    let same = endpoints(4_000, &|_| "{address: 10.0.0.1, port: 1}".into());
    let last = endpoints(4_000, &|i| {
        format!("{{address: 10.0.{}.{}, port: {}}}", i / 250, i % 250, u32::from(i < 3_900))
    });
    let keys: String = (0..20_000).map(|_| "a: 1\n").collect();
    let documents: String = (0..2_000).map(|_| "---\na: 1\n").collect();
    for (text, expected) in [(wrong, 101), (same, 100), (last, 100), (keys, 102), (documents, 10_000)] {
        let errors = errors(text.as_bytes());
        assert!(errors.len() >= expected, "{} errors, expected at least {expected}", errors.len());
    }
    // Far longer if anything is quadratic.
    assert!(start.elapsed() < std::time::Duration::from_secs(100), "{:?}", start.elapsed());
}
