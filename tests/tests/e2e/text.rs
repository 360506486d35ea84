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

/// A rule of the Route `site` for the path of its name, which leads to alpha; and a policy of that name, aimed at it alone, behind a separator. `limits` are
/// lines of the policy's spec without indentation.
pub(crate) fn guarded(name: &str, limits: &str) -> (String, String) {
    let rule = format!(
        "- {{name: {name}, matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: alpha}}]}}\n"
    );
    let target = format!("targetRefs: [{{kind: Route, name: site, sectionName: {name}}}]");
    (rule, format!("---\n{}", document("TrafficPolicy", name, &format!("{target}\n{limits}"))))
}

/// A document; `spec` is written without indentation.
pub(crate) fn document(kind: &str, name: &str, spec: &str) -> String {
    let spec = spec.trim_end().replace('\n', "\n  ");
    format!("apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n")
}
