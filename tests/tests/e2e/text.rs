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

/// The TrafficPolicy `care` for the Route `site`; `rules` are lines of its spec without indentation.
pub(crate) fn care(rules: &str) -> String {
    let rules = rules.replace('\n', "\n  ");
    format!(
        "apiVersion: spillway.dev/v1\nkind: TrafficPolicy\nmetadata: {{name: care}}\n\
         spec:\n  targetRefs: [{{kind: Route, name: site}}]\n  {rules}\n"
    )
}
