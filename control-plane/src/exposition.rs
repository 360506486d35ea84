//! Prometheus' text format, read: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.
//!
//! Envoys speak it at `/stats/prometheus`, and a Prometheus at `/federate`. What is read stays where it is: a sample is a few places in
//! the text, and labels are only unescaped for those who ask for them.

use std::collections::BTreeMap;

/// One line that says a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The name and the labels as they stand there. A writer writes a series in the same way each time, so this tells series apart.
    pub series: &'a str,
    /// The name of the metric.
    pub name: &'a str,
    /// The value.
    pub value: f64,
    /// When it was so, in milliseconds since 1970, where the line says it.
    pub timestamp: Option<i64>,
}

/// A line that is not of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not of Prometheus' text format")]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
}

/// Every sample of a text. Comments, with the types among them, are passed over.
pub fn samples(text: &str) -> impl Iterator<Item = Result<Sample<'_>, Malformed>> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(line, text)| sample(text).ok_or(Malformed { line }))
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    let labels = if rest.starts_with('{') { closing(rest)? + 1 } else { 0 };
    let (series, rest) = line.split_at_checked(end + labels)?;
    let mut words = rest.split_whitespace().take_while(|word| !word.starts_with('#'));
    let value = words.next()?.parse().ok()?;
    let timestamp = words.next().map(str::parse).transpose().ok()?;
    words.next().is_none().then_some(Sample { series, name, value, timestamp })
}

/// Where the brace is that closes the first one: one in a value does not count.
fn closing(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.bytes().position(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            b'}' => return !is_quoted,
            _ => {}
        }
        false
    })
}

impl<'a> Sample<'a> {
    /// Its labels; `None` if they are not written as they should be.
    pub fn labels(&self) -> Option<BTreeMap<&'a str, String>> {
        let mut labels = BTreeMap::new();
        let Some(rest) = self.series.strip_prefix(self.name)?.strip_prefix('{') else { return Some(labels) };
        let mut rest = rest.strip_suffix('}')?.trim();
        while !rest.is_empty() {
            let (name, quoted) = rest.split_once('=')?;
            let (value, after) = unquoted(quoted.trim_start().strip_prefix('"')?)?;
            labels.insert(name.trim(), value);
            rest = after.trim_start();
            rest = if rest.is_empty() { rest } else { rest.strip_prefix(',')?.trim_start() };
        }
        Some(labels)
    }
}

/// A value whose opening quote has been read, and what stands behind its closing one.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(text: &str) -> Sample<'_> {
        let mut all = samples(text);
        let one = all.next().unwrap().unwrap();
        assert_eq!(all.next(), None);
        one
    }

    #[test]
    fn names_labels_values_and_times_are_read() {
        let text = "# TYPE a counter\n\n a_total 7 \n";
        assert_eq!(only(text), Sample { series: "a_total", name: "a_total", value: 7.0, timestamp: None });
        let text = "up{job=\"envoy\", instance=\"a:1\",} 1.5e3 1767225600000";
        let sample = only(text);
        assert_eq!((sample.value, sample.timestamp), (1500.0, Some(1_767_225_600_000)));
        assert_eq!(sample.series, "up{job=\"envoy\", instance=\"a:1\",}");
        let expected = [("instance", "a:1".to_owned()), ("job", "envoy".to_owned())];
        assert_eq!(sample.labels(), Some(BTreeMap::from(expected)));
        assert!(only("a{} NaN").value.is_nan() && only("a{}+Inf").value.is_infinite());
    }

    #[test]
    fn values_may_have_quotes_and_braces_in_them() {
        let sample = only(r#"a{x="}\"{\\\n",y="ü"} 1"#);
        let expected = [("x", "}\"{\\\n".to_owned()), ("y", "ü".to_owned())];
        assert_eq!(sample.labels(), Some(BTreeMap::from(expected)));
    }

    #[test]
    fn what_is_not_of_the_format_is_told_by_its_line() {
        for line in ["<html>", "a", "a{x=\"1\" 2", "a b", "a 1 b", "a 1 2 3", "{} 1"] {
            let text = format!("# a page\n{line}\nb 1");
            assert_eq!(samples(&text).next(), Some(Err(Malformed { line: 2 })), "{line}");
            assert_eq!(samples(&text).count(), 2, "{line}");
        }
        for series in ["a{x} 1", "a{x=1} 1", "a{x=\"1\"y=\"2\"} 1"] {
            assert_eq!(only(series).labels(), None, "{series}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_label_says_is_read_back(value in any::<String>(), number in any::<i32>()) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // Carriage returns and other ends of lines are data here.
            let line = format!("a{{x=\"{escaped}\"}} {number}");
            prop_assume!(!value.contains('\r'));
            let sample = only(&line);
            prop_assert_eq!(sample.labels(), Some(BTreeMap::from([("x", value)])));
            prop_assert!((sample.value - f64::from(number)).abs() < 0.1);
        }

        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            for sample in samples(&text).flatten() {
                drop(sample.labels());
            }
        }
    }
}
