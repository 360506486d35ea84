//! JSON values as YAML that people read: block style, quotes only where they are needed.

use std::fmt::Write as _;

use serde_json::Value;

/// The value as one YAML document. Whatever reads YAML 1.2 reads the same value from it.
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) => block(&mut text, value, 0, false),
        _ => {
            scalar(&mut text, value);
            text.push('\n');
        }
    }
    text
}

/// Writes a collection. `inline` is whether its first line continues one that has been begun (`- `).
fn block(out: &mut String, value: &Value, indent: usize, inline: bool) {
    let mut first = inline;
    let mut lead = |out: &mut String| {
        if !std::mem::take(&mut first) {
            let _ = write!(out, "{:indent$}", "");
        }
    };
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                lead(out);
                string(out, key);
                out.push(':');
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        block(out, value, indent + 2, false);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        out.push('\n');
                        block(out, value, indent + 2, false);
                    }
                    _ => {
                        out.push(' ');
                        scalar(out, value);
                        out.push('\n');
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                lead(out);
                out.push_str("- ");
                match item {
                    Value::Object(inner) if !inner.is_empty() => block(out, item, indent + 2, true),
                    Value::Array(inner) if !inner.is_empty() => block(out, item, indent + 2, true),
                    _ => {
                        scalar(out, item);
                        out.push('\n');
                    }
                }
            }
        }
        _ => {
            lead(out);
            scalar(out, value);
            out.push('\n');
        }
    }
}

fn scalar(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => string(out, text),
        // Numbers, booleans, null and what is empty are written as in JSON.
        _ => {
            let _ = write!(out, "{value}");
        }
    }
}

fn string(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        // A JSON string is a double-quoted YAML scalar, but for DEL, which JSON leaves as it is and YAML does not allow.
        let _ = write!(out, "{}", Value::from(text).to_string().replace('\u{7f}', "\\x7f"));
    }
}

/// Whether the text means itself without quotes, for readers of YAML 1.1 too (`no`, `1:30`, `0o7`).
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let goes_on_well = chars.all(|c| c.is_ascii_alphanumeric() || "-_./%+@".contains(c));
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    // A duration or a rate may start with a digit, but then has to end as no number does.
    let is_quantity = text.starts_with(|c: char| c.is_ascii_digit())
        && !text.starts_with('0')
        && ["s", "m", "h", "%", "iB"].iter().any(|unit| text.ends_with(unit))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/%".contains(c));
    (starts_well && goes_on_well && !is_word) || is_quantity
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_look_as_people_write_them() {
        let value = json!({
            "kind": "Route",
            "metadata": {"name": "a"},
            "spec": {"rules": [{"name": "x", "weights": [1, 2]}, [[]], {}], "rate": "100/s", "on": "yes", "n": null},
        });
        let expected = "\
kind: Route
metadata:
  name: a
spec:
  \"n\": null
  \"on\": \"yes\"
  rate: 100/s
  rules:
    - name: x
      weights:
        - 1
        - 2
    - - []
    - {}
";
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn what_looks_like_something_else_is_quoted() {
        for quoted in
            ["", "1", "1e3", "0x1f", "1:30", "~", "- a", "a: b", "a #b", "*x", "NULL", "ü", "a\nb", "012s"]
        {
            assert_eq!(text(&json!(quoted)), format!("{}\n", json!(quoted)), "{quoted}");
        }
        for plain in ["abc", "/orders", "5m", "100/s", "50%", "64KiB", "spillway.dev/v1"] {
            assert_eq!(text(&json!(plain)), format!("{plain}\n"));
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~\u{e4}\u{7f}\n]{0,12}".prop_map(Value::from),
            "[a-z0-9/%:.]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-zA-Z0-9 :-]{1,8}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reading_gives_what_was_written(value in values()) {
            let written = text(&value);
            prop_assert_eq!(crate::document::json(&written), Some(value), "{}", written);
        }
    }
}
