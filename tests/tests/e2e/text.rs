//! Documents that many tests have in common.

/// A Route of everything to alpha.
pub(crate) const TO_ALPHA: &str = "\
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: site}
spec:
  parentRefs: [{name: edge}]
  rules:
    - name: all
      backendRefs: [{name: alpha}]
";

/// The Route `site` of everything on the Gateway; `rules` are a list, one a line, without indentation.
pub(crate) fn site(rules: &str) -> String {
    document("Route", "site", &format!("parentRefs: [{{name: edge}}]\nrules:\n{rules}"))
}

/// The TrafficPolicy `care` for the Route `site`; `rules` are lines of its spec without indentation.
pub(crate) fn care(rules: &str) -> String {
    document("TrafficPolicy", "care", &format!("targetRefs: [{{kind: Route, name: site}}]\n{rules}"))
}

/// A document; `spec` is written without indentation.
pub(crate) fn document(kind: &str, name: &str, spec: &str) -> String {
    let spec = spec.trim_end().replace('\n', "\n  ");
    format!("apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n")
}
