//! Takes what may be secret out of the text with which a proxy refuses something.
//!
//! Envoy explains a refusal by quoting the configuration it refused, private keys included. Nothing tells a secret from another value for
//! sure, so everything quoted is taken out, except what was served under that name and the names of Envoy's own extensions.

use std::borrow::Cow;

/// Longest text kept, in characters.
const MAX_LENGTH: usize = 1_000;

/// Longest run of characters without a space that is kept: keys and tokens are longer, words and paths are not.
const MAX_WORD: usize = 120;

const GONE: &str = "[redacted]";

/// The text without what may be secret. `served` are names that may stay.
pub fn redact<'a>(text: &str, served: impl IntoIterator<Item = &'a str>) -> String {
    let served: Vec<&str> = served.into_iter().collect();
    let text = without_pem(text);
    let mut kept = String::new();
    let mut rest = text.as_ref();
    while let Some((before, quote, after)) = next_quote(rest) {
        kept.push_str(before);
        let (inside, remainder) = split_at_closing(after, quote);
        let harmless = inside.is_empty() || served.contains(&inside) || inside.starts_with("envoy.");
        kept.push(quote);
        kept.push_str(if harmless { inside } else { GONE });
        if let Some(remainder) = remainder {
            kept.push(quote);
            rest = remainder;
        } else {
            rest = "";
        }
    }
    kept.push_str(rest);
    let words = kept.split_whitespace().map(|word| if word.len() > MAX_WORD { GONE } else { word });
    let one_line = words.collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}...", one_line.get(..end).unwrap_or_default()),
        None => one_line,
    }
}

fn without_pem(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = "-----BEGIN";
    const END: &str = "-----END";
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(BEGIN) {
        kept.push_str(before);
        kept.push_str(GONE);
        // An unfinished block takes the rest of the text with it.
        let after = block.split_once(END).and_then(|(_, label)| label.split_once("-----"));
        rest = after.map_or("", |(_, after)| after);
    }
    if kept.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(kept + rest) }
}

/// Splits at the next opening quote. An apostrophe within a word is none.
fn next_quote(text: &str) -> Option<(&str, char, &str)> {
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        if c == '"' || c == '`' || (c == '\'' && !last.is_alphanumeric()) {
            let (before, after) = (text.get(..at)?, text.get(at + 1..)?);
            return Some((before, c, after));
        }
        last = c;
    }
    None
}

/// Splits at the closing quote; without one everything is inside.
fn split_at_closing(text: &str, quote: char) -> (&str, Option<&str>) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return (text.get(..at).unwrap_or_default(), text.get(at + 1..));
        }
        escaped = c == '\\' && !escaped;
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_served_may_be_named() {
        let text = "route: unknown cluster 'orders-v1' in 'web' and 'hunter2'";
        assert_eq!(
            redact(text, ["orders-v1", "web"]),
            "route: unknown cluster 'orders-v1' in 'web' and '[redacted]'"
        );
        assert_eq!(redact("Didn't find 'envoy.filters.http.x'", []), "Didn't find 'envoy.filters.http.x'");
    }

    #[test]
    fn line_35_values_and_keys_are_taken_out_however_they_are_quoted() {
        let text = "bad: private_key { inline_string: \"s3cret \\\" still s3cret\" } end";
        assert_eq!(redact(text, []), "bad: private_key { inline_string: \"[redacted]\" } end");
        assert!(!redact("open \"s3cret", []).contains("s3cret"));
        assert!(!redact("`s3cret`", []).contains("s3cret"));
        let pem = "x -----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY----- y -----BEGIN EC KEY-----\ns3cret";
        assert_eq!(redact(pem, []), "x [redacted] y [redacted]");
        assert_eq!(redact(&"k".repeat(300), []), "[redacted]");
    }

    #[test]
    fn text_is_one_line_and_bounded() {
        assert_eq!(redact("a\n  b\tc", []), "a b c");
        assert_eq!(redact(&"é ".repeat(5_000), []).chars().count(), MAX_LENGTH + 3);
        assert_eq!(redact("", []), "");
    }
}
