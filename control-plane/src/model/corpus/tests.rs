//! After any sequence of edits, what is made step by step is what is made from the start.

use proptest::prelude::*;

use super::*;
use crate::document::read;
use crate::keychain::Keychain;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// One document, right or wrong.
fn document() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(&NAMES[..]);
    let spec = prop_oneof![
        (1..4_u8, any::<bool>(), proptest::sample::select(&["f", "g"][..])).prop_map(|(port, other, fleet)| {
            let other = if other { "{name: admin, port: 9, protocol: HTTP}], tracing: {otlp: 'c:1'}" } else { "]" };
            ("Gateway", format!("{{fleet: {fleet}, listeners: [{{name: web, port: {port}, protocol: HTTP, hostname: '*.x.org'}}, {other}}}"))
        }),
        (name.clone(), name.clone()).prop_map(|(certificate, ca)| {
            ("Gateway", format!("{{fleet: h, listeners: [{{name: web, port: 5, protocol: HTTPS, tls: {{certificateRefs: [{certificate}], clientCa: {ca}}}}}]}}"))
        }),
        name.clone().prop_map(|ca| ("Backend", format!("{{endpoints: [], tls: {{caRef: {ca}, sni: x.org}}}}"))),
        proptest::sample::select(&["{caFile: ca.crt}", "{certFile: a.crt, keyFile: a.key, caFile: ca.crt}", "{certFile: a.crt}"][..])
            .prop_map(|spec| ("Certificate", spec.to_owned())),
        (name.clone(), name.clone(), proptest::option::of(proptest::sample::select(&["web", "admin"][..])), any::<bool>())
            .prop_map(|(gateway, backend, section, host)| {
                let section = section.map(|section| format!(", sectionName: {section}")).unwrap_or_default();
                let host = if host { "hostnames: [a.x.org], " } else { "" };
                ("Route", format!("{{parentRefs: [{{name: {gateway}{section}}}], {host}rules: [{{name: r, backendRefs: [{{name: {backend}}}]}}]}}"))
            }),
        (0..2_u8).prop_map(|n| ("Backend", format!("{{endpoints: [{{address: 10.0.0.{n}, port: 1}}]}}"))),
        (name.clone(), any::<bool>(), 0..5_u8).prop_map(|(target, gateway, rest)| {
            let kind = if gateway { "Gateway" } else { "Route" };
            let rest = [
                "routeKey: [{header: x}]",
                "rateLimits: [{name: l, rate: 1/s, key: [routeKey]}]",
                "rateLimits: [{name: l, rate: 1/s}]",
                "rateLimits: [{name: l, rate: 0/s}]",
                "rateLimits: [{name: l, rate: 1/s, rateLimitHeaders: true}]",
            ].get(usize::from(rest)).copied().unwrap_or_default();
            ("TrafficPolicy", format!("{{targetRefs: [{{kind: {kind}, name: {target}}}], {rest}}}"))
        }),
    ];
    (name, spec).prop_map(|(name, (kind, spec))| {
        format!("apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    })
}

/// Files that hold most of what others refer to, so that many edits are valid.
pub(crate) fn base() -> Changes {
    let gateways = NAMES.iter().zip(11..).map(|(name, port)| format!(
        "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: {{fleet: f, listeners: [{{name: web, port: {port}, protocol: HTTP}}]}}\n"
    ));
    let backends = NAMES.map(|name| {
        format!("apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: {name}}}\nspec: {{endpoints: []}}\n")
    });
    let routes = NAMES.map(|name| format!(
        "apiVersion: spillway.dev/v1\nkind: Route\nmetadata: {{name: {name}}}\nspec: {{parentRefs: [{{name: {name}}}], rules: [{{name: r, backendRefs: [{{name: {name}}}]}}]}}\n"
    ));
    let texts = gateways.chain(backends).chain(routes);
    texts.enumerate().map(|(i, text)| file(&format!("base-{i}.yaml"), Some(text))).collect()
}

fn file(name: &str, text: Option<String>) -> (PathBuf, Option<Arc<Contents>>) {
    (name.into(), text.map(|text| Arc::new(read(name, text.as_bytes()))))
}

/// Replaces one file's documents (of the base too), adds one or takes one away.
pub(crate) fn edit() -> impl Strategy<Value = Changes> {
    let name = prop_oneof![
        (0..12_u8).prop_map(|n| format!("base-{n}.yaml")),
        (0..3_u8).prop_map(|n| format!("other-{n}.yaml")),
    ];
    let text = proptest::option::weighted(0.8, proptest::collection::vec(document(), 1..3))
        .prop_map(|documents| documents.map(|documents| documents.join("---\n")));
    proptest::collection::vec((name, text), 1..3)
        .prop_map(|files| files.into_iter().map(|(name, text)| file(&name, text)).collect())
}

/// So many routes of one Gateway that Envoy gets a tree of them.
pub(crate) fn many() -> Changes {
    (0..18).map(|number| one_of_many(number, Some(("a", "")))).collect()
}

/// Changes where one of them leads, or its path, or takes it away.
pub(crate) fn edit_of_many() -> impl Strategy<Value = Changes> {
    let to = (proptest::sample::select(&NAMES[..]), proptest::sample::select(&["", "/x", "/y/z"][..]));
    (0..18_usize, proptest::option::weighted(0.8, to))
        .prop_map(|(number, to)| [one_of_many(number, to)].into())
}

fn one_of_many(number: usize, to: Option<(&str, &str)>) -> (PathBuf, Option<Arc<Contents>>) {
    let text = to.map(|(backend, rest)| format!(
        "apiVersion: spillway.dev/v1\nkind: Route\nmetadata: {{name: m{number}}}\nspec: {{parentRefs: [{{name: a}}], rules: [{{name: r, matches: [{{path: {{value: /m{number}{rest}}}}}], backendRefs: [{{name: {backend}}}]}}]}}\n"
    ));
    file(&format!("many-{number}.yaml"), text)
}

fn shown(outcome: Result<&Model, &[Diagnostic]>) -> String {
    match outcome {
        Ok(model) => format!("{model:#?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn step_by_step_is_as_from_the_start(edits in proptest::collection::vec(edit(), 1..12)) {
        let mut corpus = Corpus::default();
        corpus.change(base()).unwrap();
        for edit in edits {
            let mut files = corpus.files().clone();
            for (path, contents) in &edit {
                match contents {
                    Some(contents) => drop(files.insert(path.clone(), Arc::clone(contents))),
                    None => drop(files.remove(path)),
                }
            }
            let fresh = build::whole(files.values().map(AsRef::as_ref), &Keychain::default());
            let fresh = fresh.as_ref().map(|whole| &whole.model).map_err(Vec::as_slice);
            let before = shown(Ok(corpus.model()));
            let checked = corpus.begin(edit.clone()).map(|pending| Arc::clone(pending.model()));
            prop_assert_eq!(shown(checked.as_deref().map_err(Vec::as_slice)), shown(fresh));
            prop_assert_eq!(shown(Ok(corpus.model())), before);
            let changed = corpus.change(edit);
            prop_assert_eq!(shown(changed.as_deref().map_err(Vec::as_slice)), shown(fresh));
        }
    }
}

#[test]
fn an_edit_is_checked_without_checking_everything() {
    let mut corpus = Corpus::default();
    corpus.change(base()).unwrap();
    let edit = |text: &str| [file("base-4.yaml", Some(text.to_owned()))].into();
    let backend = "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {name: a}\nspec: {endpoints: [{address: 10.0.0.1, port: 1}]}\n";
    let (_, undo) = corpus.try_change(&edit(backend)).unwrap();
    corpus.undo(undo);
    // A route refers to it under its old name.
    assert!(corpus.try_change(&edit(&backend.replace("name: a", "name: z"))).is_none());
    assert_eq!(corpus.begin(edit(&backend.replace("name: a", "name: z"))).unwrap_err().len(), 1);
}
