//! Documents of the Kubernetes Gateway API are not read, but each of their words is answered with ours.

use super::errors;

const HTTP_ROUTE: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders, namespace: shop, labels: {team: a}}
spec:
  parentRefs: [{name: edge, kind: Gateway, group: gateway.networking.k8s.io, port: 80}]
  rules:
    - name: all
      matches: [{path: {type: Prefix, value: /a}}]
      filters: [{type: ExtensionRef}]
      backendRefs: [{name: orders, kind: Service, port: 8080}]
";

#[test]
fn a_document_of_the_gateway_api_is_answered_word_for_word_and_at_once() {
    let errors = errors(HTTP_ROUTE.as_bytes());
    let told = |field: &str, expected: &str| {
        let found = errors.iter().find(|error| error.field.clone().starts_with(field));
        let found = found.unwrap_or_else(|| panic!("nothing about {field}: {errors:#?}"));
        let text = format!("{} {}", found.message, found.help.as_deref().unwrap_or_default());
        assert!(text.contains(expected), "{field}: {text}");
    };
    told("apiVersion", "expected spillway.dev/v1");
    told("kind", "the kind is called `Route` here");
    told("metadata.namespace", "there are no namespaces");
    told("metadata.labels", "metadata has only name");
    told("spec.parentRefs[0].kind", "parentRefs name Gateway documents only");
    told("spec.parentRefs[0].group", "there are no groups");
    told("spec.parentRefs[0].port", "name a listener by sectionName");
    told("spec.rules[0].matches[0].path.type", "`PathPrefix`");
    told("spec.rules[0].filters", "");
    told("spec.rules[0].backendRefs[0].kind", "backendRefs name Backend documents only");
    told("spec.rules[0].backendRefs[0].port", "the port is part of the Backend");
}

#[test]
fn every_kind_of_another_language_has_a_counterpart() {
    for (kind, ours) in [("GRPCRoute", "Route"), ("Ingress", "Route"), ("Service", "Backend")] {
        let text = format!(
            "apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{nothing: 1}}\n"
        );
        let errors = errors(text.as_bytes());
        let help = errors.first().and_then(|error| error.help.clone()).unwrap_or_default();
        assert_eq!(help, format!("the kind is called `{ours}` here"));
        assert!(errors.iter().any(|error| error.message.contains("unknown field `nothing`")), "{errors:#?}");
    }
}
