//! What holds for every text, not only for those that somebody thought of.

use proptest::prelude::*;

use super::{errors, shown};

/// Valid, with at least one of everything that is built.
const VALID: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata:
  name: edge
spec:
  fleet: edge
  listeners:
    - name: web
      address: 0.0.0.0
      port: 10000
      protocol: HTTP
      hostname: '*.example.com'
---
apiVersion: spillway.dev/v1
kind: Route
metadata:
  name: orders
spec:
  parentRefs:
    - name: edge
      sectionName: web
  hostnames:
    - a.example.com
  rules:
    - name: api
      matches:
        - path:
            type: PathPrefix
            value: /orders
          method: GET
          headers:
            - name: x-env
              value: prod
              type: Exact
      backendRefs:
        - name: v1
          weight: 70
---
apiVersion: spillway.dev/v1
kind: Backend
metadata:
  name: v1
spec:
  protocol: HTTP1
  endpoints:
    - address: 10.0.0.1
      port: 8080
      weight: 2
---
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata:
  name: guard
spec:
  targetRefs:
    - kind: Route
      name: orders
      sectionName: api
  routeKey:
    - template: /orders/{tenant}/**
      key: '{tenant}'
    - clientAddress:
        prefix: 24
    - header: x-tenant
    - value: anonymous
  rateLimits:
    - name: tenant
      key:
        - routeKey
      rate: 100/s
      burst: 200
  circuitBreakers:
    - name: orders
      key:
        - backend
      window: 10s
      minRequests: 20
      trip:
        errorRatio: 50%
      openFor: 30s
      probes: 5
";

#[test]
fn the_valid_text_is_valid() {
    assert_eq!(shown(VALID), Vec::<String>::new());
}

/// The lines of [`VALID`] with a key, and where in the line the key starts and ends.
fn keys() -> Vec<(usize, usize, usize)> {
    let of = |(number, line): (usize, &'static str)| {
        let start = line.find(|c: char| c.is_ascii_alphabetic())?;
        let end = line.find(':')?;
        (start < end && !line.trim_start_matches([' ', '-']).starts_with(['\'', '/']))
            .then_some((number, start, end))
    };
    VALID.lines().enumerate().filter_map(of).collect()
}

/// [`VALID`] with one line changed.
fn with_line(number: usize, line: &str) -> String {
    let lines = VALID.lines().enumerate().map(|(n, old)| if n == number { line } else { old });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn any_key_misspelt_is_refused_with_what_was_meant() {
    assert!(keys().len() > 50);
    for (number, start, end) in keys() {
        let line = VALID.lines().nth(number).unwrap();
        let key = &line[start..end];
        for wrong in [format!("{key}x"), key[1..].to_owned(), key.to_uppercase()] {
            let text = with_line(number, &format!("{}{wrong}{}", &line[..start], &line[end..]));
            let errors = errors(text.as_bytes());
            let place = |error: &&crate::document::Diagnostic| {
                error.place.map(|place| (place.line as usize, place.column as usize))
                    == Some((number + 1, start + 1))
            };
            let error = errors.iter().find(place).unwrap_or_else(|| panic!("{text}\n{errors:?}"));
            assert_eq!(error.message, format!("unknown field `{wrong}`"), "{text}");
            // What is left of a short word may be nearer to another one.
            if key.len() > 4 {
                assert_eq!(error.help.as_deref(), Some(&*format!("did you mean `{key}`?")), "{text}");
            }
        }
    }
}

#[test]
fn any_line_left_out_is_no_reason_to_fail() {
    for (number, _) in VALID.lines().enumerate() {
        for error in errors(with_line(number, "").as_bytes()) {
            assert!(error.place.is_some() && !error.message.is_empty(), "{error:?}");
        }
    }
}

fn printed(bytes: &[u8]) -> String {
    errors(bytes).into_iter().map(|error| error.to_string() + &error.one_line()).collect()
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_answer_that_is_safe_to_print(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let safe = |c: char| c == '\n' || !c.is_control();
        prop_assert!(printed(&bytes).chars().all(safe));
    }

    #[test]
    fn any_text_of_yaml_characters_ends_in_an_answer(text in r#"[-a-c:?,\[\]{}#&*!|>'"%@` \n\t]{0,120}"#) {
        printed(text.as_bytes());
    }

    #[test]
    fn any_change_to_a_valid_text_ends_in_an_answer(
        at in 0..VALID.len(),
        length in 0..40_usize,
        new in r#"[-a-z0-9:?,\[\]{}#&*!|>'"%@` \n\t]{0,20}"#,
    ) {
        let mut text = VALID.to_owned();
        let end = (at + length).min(text.len());
        text.replace_range(at..end, &new);
        for error in errors(text.as_bytes()) {
            prop_assert!(error.place.is_some(), "{error:?}");
        }
    }

    #[test]
    fn any_value_in_the_place_of_another_ends_in_an_answer(
        line in 0..VALID.lines().count(),
        value in prop_oneof!["-?[0-9]{1,25}", "[a-z]{0,5}", Just("[]".to_owned()), Just("{}".to_owned()), Just("~".to_owned()),
            Just("[1, {a: b}]".to_owned()), Just("1.5".to_owned()), Just("true".to_owned()), Just("\"\"".to_owned())],
    ) {
        let old = VALID.lines().nth(line).unwrap_or_default();
        if let Some(colon) = old.find(": ") {
            let text = with_line(line, &format!("{} {value}", &old[..=colon]));
            for error in errors(text.as_bytes()) {
                prop_assert!(error.place.is_some(), "{error:?}");
            }
        }
    }
}
