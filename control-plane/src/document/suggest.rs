//! What a wrong word may have been meant to be.

use super::kind::{Kind, LATER_VALUES};

/// Words of the Kubernetes Gateway API and of Envoy that are written otherwise here: the word, a field that only we have in the same
/// place, and what to write.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("pathType", "path", "write path: {type: PathPrefix, value: /...}"),
    ("prefix", "path", "write path: {type: PathPrefix, value: /...}"),
    ("pathPrefix", "path", "write path: {type: PathPrefix, value: /...}"),
    ("uri", "path", "write path: {type: PathPrefix, value: /...}"),
    ("headers", "grpc", "write headers: [{name: x-env, value: prod}]"),
    ("service", "backendRefs", "write backendRefs: [{name: ...}], the name of a Backend"),
    ("backend", "backendRefs", "write backendRefs: [{name: ...}], the name of a Backend"),
    ("forwardTo", "backendRefs", "write backendRefs: [{name: ...}], the name of a Backend"),
    ("port", "weight", "the port is part of the Backend: its endpoints have address and port"),
    ("port", "sectionName", "name a listener by sectionName"),
    ("kind", "weight", "backendRefs name Backend documents only"),
    ("kind", "sectionName", "parentRefs name Gateway documents only"),
    ("group", "name", "references are by kind and name within one directory; there are no groups"),
    ("namespace", "name", "there are no namespaces: a name is unique among the documents of its kind"),
    ("labels", "name", "metadata has only name"),
    ("annotations", "name", "metadata has only name"),
    ("gatewayClassName", "fleet", "write fleet: the node.cluster of the Envoys"),
    ("infrastructure", "fleet", "write fleet: the node.cluster of the Envoys"),
    ("addresses", "fleet", "each listener has an address"),
    ("allowedRoutes", "hostname", "Routes choose their Gateway by parentRefs; nothing restricts that"),
    ("hostnames", "hostname", "a listener has one hostname"),
    ("host", "hostnames", "write hostnames: [...]"),
    ("hosts", "hostnames", "write hostnames: [...]"),
    ("parents", "parentRefs", "write parentRefs: [{name: ...}], the name of a Gateway"),
    ("gateways", "parentRefs", "write parentRefs: [{name: ...}], the name of a Gateway"),
    ("targetRef", "targetRefs", "targetRefs is a list: targetRefs: [{kind: Route, name: ...}]"),
    ("sessionPersistence", "loadBalancing", "sessionPersistence belongs to a Route's rule"),
    ("lbPolicy", "loadBalancing", "write loadBalancing: {policy: ...}"),
    ("hosts", "endpoints", "write endpoints: [{address: 10.0.0.1, port: 8080}]"),
    ("addresses", "endpoints", "write endpoints: [{address: 10.0.0.1, port: 8080}]"),
    ("requests", "rate", "write rate: 100/s"),
    ("limit", "rate", "write rate: 100/s"),
    ("unit", "rate", "write the unit within the rate: 100/s, 6000/m or 10/h"),
    ("requestsPerUnit", "rate", "write rate: 100/s"),
    ("status", "spec", "documents have no status; `spillway status` shows what proxies accepted"),
];

/// Kinds of the Gateway API and their counterparts.
const FOREIGN_KINDS: &[(&str, &str)] = &[
    ("HTTPRoute", "Route"),
    ("GRPCRoute", "Route"),
    ("TCPRoute", "Route"),
    ("TLSRoute", "Route"),
    ("VirtualService", "Route"),
    ("Ingress", "Route"),
    ("Service", "Backend"),
    ("Cluster", "Backend"),
    ("DestinationRule", "Backend"),
    ("BackendTrafficPolicy", "TrafficPolicy"),
    ("ClientTrafficPolicy", "TrafficPolicy"),
    ("RateLimitPolicy", "TrafficPolicy"),
];

/// The kind that another language's one corresponds to.
pub(crate) fn counterpart(kind: &str) -> Option<Kind> {
    let (_, ours) = FOREIGN_KINDS.iter().find(|(word, _)| *word == kind)?;
    Kind::ALL.into_iter().find(|kind| kind.name() == *ours)
}

/// Help for an unknown field.
pub(crate) fn field(found: &str, expected: &[&str]) -> String {
    let foreign = FOREIGN.iter().find(|(word, beside, _)| *word == found && expected.contains(beside));
    match (foreign, nearest(found, expected.iter().copied())) {
        (Some((_, _, help)), _) => (*help).to_owned(),
        (None, Some(nearest)) => format!("did you mean `{nearest}`?"),
        (None, None) if expected.is_empty() => "no field is expected here".into(),
        (None, None) => format!("expected {}", list(expected)),
    }
}

/// Help for an unknown value of a field that has only certain ones.
pub(crate) fn value(found: &str, expected: &[&str]) -> String {
    let foreign = FOREIGN_KINDS.iter().find(|(word, ours)| *word == found && expected.contains(ours));
    match (foreign, nearest(found, expected.iter().copied())) {
        (Some((_, ours)), _) => format!("the kind is called `{ours}` here"),
        (None, Some(nearest)) => format!("did you mean `{nearest}`?"),
        (None, None) => format!("expected {}", one_of(expected)),
    }
}

/// Help for a name that refers to nothing.
pub(crate) fn name<'a>(found: &str, existing: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let existing = existing.filter(|name| !name.is_empty());
    if let Some(nearest) = nearest(found, existing.clone()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    let some: Vec<_> = existing.take(6).collect();
    // A long list would hide the error.
    (1..6).contains(&some.len()).then(|| format!("there is {}", list(&some)))
}

/// Whether one word may be a slip for another.
pub(crate) fn is_near(found: &str, meant: &str) -> bool {
    nearest(found, std::iter::once(meant)).is_some()
}

/// The candidate that differs least, if it is near enough to have been meant.
fn nearest<'a>(found: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |word: &str| word.to_lowercase().replace(['-', '_'], "");
    let folded = fold(found);
    // Comparing is quadratic in the length, and nothing that is this long is a slip.
    if found.len() > 128 {
        return None;
    }
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(3) / 3).min(4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether a value of the enumeration `name` belongs to the language and is not built yet.
pub(crate) fn is_later_value(name: &str, value: &str, built: &[&str]) -> bool {
    !built.contains(&value)
        && LATER_VALUES.iter().any(|(enumeration, values)| *enumeration == name && values.contains(&value))
}

/// `a, b and c`, in backquotes.
pub(crate) fn list(words: &[&str]) -> String {
    join(words, "and")
}

/// `a, b or c`, in backquotes.
pub(crate) fn one_of(words: &[&str]) -> String {
    join(words, "or")
}

fn join(words: &[&str], conjunction: &str) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".into(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let fields = ["name", "weight", "backendRefs"];
        assert_eq!(field("wieght", &fields), "did you mean `weight`?");
        assert_eq!(field("backend_refs", &fields), "did you mean `backendRefs`?");
        assert_eq!(field("BackendRef", &fields), "did you mean `backendRefs`?");
        assert_eq!(field("colour", &fields), "expected `name`, `weight` and `backendRefs`");
        assert_eq!(value("http2", &["HTTP1", "HTTP2"]), "did you mean `HTTP2`?");
        assert_eq!(field(&"x".repeat(1_000_000), &["a"]), "expected `a`");
    }

    #[test]
    fn words_of_the_gateway_api_are_answered_with_ours() {
        assert_eq!(value("HTTPRoute", &["Gateway", "Route"]), "the kind is called `Route` here");
        assert!(field("port", &["name", "weight"]).contains("endpoints"));
        assert!(field("gatewayClassName", &["fleet", "listeners"]).contains("fleet"));
    }

    #[test]
    fn a_dangling_name_is_answered_with_a_near_one_or_a_short_list() {
        let names = ["orders-v1", "orders-v2"];
        assert_eq!(name("orders-v11", names.into_iter()).unwrap(), "did you mean `orders-v1`?");
        assert_eq!(name("payments", names.into_iter()).unwrap(), "there is `orders-v1` and `orders-v2`");
        assert_eq!(name("payments", [].into_iter()), None);
    }
}
