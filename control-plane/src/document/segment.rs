//! Where the documents of a text begin and end.
//!
//! A line that starts with `---` or `...` and has white space or nothing behind it is a document marker wherever it stands, in scalars
//! too (YAML 1.2.2, section 9.1.2, `c-forbidden`): so a text can be taken apart, and one document replaced, without understanding the rest.

use std::ops::Range;

/// What stands between two markers: at most one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// In bytes: with the marker before it, up to the next one.
    pub(crate) whole: Range<usize>,
    /// The length of the marker; 0 where the text begins without one.
    pub(crate) marker: usize,
    /// The line it starts in, from 1.
    pub(crate) line: u32,
}

/// Takes a text apart. What comes back covers it without gaps; there is at least one segment.
pub(crate) fn split(text: &str) -> Vec<Segment> {
    let mut segments = vec![Segment { whole: 0..0, marker: 0, line: 1 }];
    let mut at = 0;
    for (number, line) in (1..).zip(lines(text)) {
        if is_marker(line)
            && let Some(last) = segments.last_mut()
        {
            last.whole.end = at;
            // Before a marker in the first line there is nothing.
            if at == 0 {
                segments.clear();
            }
            segments.push(Segment { whole: at..at, marker: 3, line: number });
        }
        at += line.len();
    }
    if let Some(last) = segments.last_mut() {
        last.whole.end = text.len();
    }
    segments
}

fn is_marker(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Lines with their ends, as YAML counts them: a carriage return alone ends one too.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match rest.find(['\r', '\n']) {
            None if rest.is_empty() => return None,
            None => rest.len(),
            Some(at) if rest.get(at..).is_some_and(|end| end.starts_with("\r\n")) => at + 2,
            Some(at) => at + 1,
        };
        let (line, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(line)
    })
}

impl Segment {
    /// All of a text as one segment.
    pub(crate) fn of_all(text: &str) -> Self {
        Self { whole: 0..text.len(), marker: 0, line: 1 }
    }

    /// The document with the comments before it, which are about it. A comment in the marker's line and what comes behind the document
    /// belong to the file.
    pub(crate) fn text(&self, text: &str) -> Range<usize> {
        let body = self.body(text);
        let start = self.whole.start + self.marker;
        let mut at = start;
        for line in lines(text.get(start..body.start).unwrap_or_default()) {
            let is_of_marker = at == start && self.marker > 0;
            if !is_of_marker && line.starts_with('#') {
                return at..body.end;
            }
            at += line.len();
        }
        body
    }

    /// The document without its marker and without the blank lines and comments around it.
    pub(crate) fn body(&self, text: &str) -> Range<usize> {
        let start = self.whole.start + self.marker;
        let inner = text.get(start..self.whole.end).unwrap_or_default();
        let (mut begin, mut end, mut at) = (None, 0, 0);
        for line in lines(inner) {
            let first = at == 0 && self.marker > 0;
            // Behind the marker, in its line, `#` starts a comment after a space.
            let content = if first { line.trim_start() } else { line };
            // A `#` further right may belong to a text in block style.
            let is_content = !(content.trim().is_empty() || content.starts_with('#'));
            if is_content {
                begin.get_or_insert(if first { at + line.len() - content.len() } else { at });
            }
            at += line.len();
            if is_content {
                end = at;
            }
        }
        let Some(begin) = begin else { return start..start };
        // Blank lines behind a scalar that keeps them are its content.
        let body = inner.get(begin..end).unwrap_or_default();
        if ["|+", ">+"].iter().any(|keep| body.contains(keep)) || keeps_with_indent(body) {
            let rest = inner.get(end..).unwrap_or_default();
            end += lines(rest).take_while(|line| line.trim().is_empty()).map(str::len).sum::<usize>();
        }
        start + begin..start + end
    }
}

/// Whether there may be a block scalar such as `|2+`.
fn keeps_with_indent(text: &str) -> bool {
    text.match_indices(['|', '>']).any(|(at, _)| {
        let mut rest = text.get(at + 1..).unwrap_or_default().chars();
        rest.next().is_some_and(|c| c.is_ascii_digit()) && rest.next() == Some('+')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bodies(text: &str) -> Vec<&str> {
        split(text).iter().map(|segment| &text[segment.body(text)]).collect()
    }

    #[test]
    fn documents_are_what_stands_between_markers() {
        assert_eq!(bodies("a: 1\n"), ["a: 1\n"]);
        assert_eq!(bodies("a: 1\n---\nb: 2\n---\n"), ["a: 1\n", "b: 2\n", ""]);
        assert_eq!(bodies("---\na: 1\n...\n---\nb: 2"), ["a: 1\n", "", "b: 2"]);
        assert_eq!(bodies("--- {a: 1}\n---\t# c\nb: 2\r\n--- # d\r\n"), ["{a: 1}\n", "b: 2\r\n", ""]);
        assert_eq!(bodies("a: |\n ---\n --- x\nb: '----'\n"), ["a: |\n ---\n --- x\nb: '----'\n"]);
        assert_eq!(bodies(""), [""]);
    }

    #[test]
    fn comments_around_a_document_are_not_its_body() {
        let text = "# head\n\na: 1 # one\n# within\nb: |\n  # text\n\n# tail\n---\n# next\nc: 3\n";
        assert_eq!(bodies(text), ["a: 1 # one\n# within\nb: |\n  # text\n", "c: 3\n"]);
    }

    #[test]
    fn comments_before_a_document_are_about_it() {
        let texts = |text: &'static str| -> Vec<&str> {
            split(text).iter().map(|segment| &text[segment.text(text)]).collect()
        };
        assert_eq!(texts("\n# head\n\n# more\na: 1\n# tail\n"), ["# head\n\n# more\na: 1\n"]);
        assert_eq!(texts("--- # file\n\n# b\r\nb: 2\n--- {c: 3}\n"), ["# b\r\nb: 2\n", "{c: 3}\n"]);
        assert_eq!(texts("# only the file's\n---\n\na: 1"), ["", "a: 1"]);
    }

    #[test]
    fn blank_lines_that_a_scalar_keeps_are_content() {
        assert_eq!(bodies("a: |+\n  b\n\n\n---\nc: 1\n\n"), ["a: |+\n  b\n\n\n", "c: 1\n"]);
        assert_eq!(bodies("a: >2+\n  b\n\n"), ["a: >2+\n  b\n\n"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "([-.]{3}|[a: #|\n\r\t]|\r\n){0,40}") {
            let segments = split(&text);
            let whole: String = segments.iter().map(|segment| &text[segment.whole.clone()]).collect();
            prop_assert_eq!(whole, text.clone());
            for segment in segments {
                let body = segment.body(&text);
                prop_assert!(segment.whole.start + segment.marker <= body.start && body.end <= segment.whole.end);
                prop_assert_eq!(usize::try_from(segment.line).unwrap(), 1 + lines(&text[..segment.whole.start]).count());
            }
        }

        #[test]
        fn each_part_reads_as_it_did_in_the_whole(parts in proptest::collection::vec("[-.]{2,3}|[ab]: 1|- x|'|# c|\\||  t|", 0..12)) {
            let text = parts.join("\n");
            let parsed = crate::document::yaml::parse(&text);
            // At the root of a document only a mapping is one of ours; a scalar there has other rules.
            let are_ours = parsed.documents.iter().all(|node| matches!(node.value, super::super::Value::Mapping(_)));
            if parsed.complete && parsed.problems.is_empty() && are_ours {
                let alone: Vec<_> = bodies(&text).into_iter()
                    .flat_map(|body| crate::document::yaml::parse(body).documents)
                    .map(|node| node.to_json())
                    .collect();
                let whole: Vec<_> = parsed.documents.iter().map(super::super::Node::to_json).collect();
                prop_assert_eq!(whole, alone);
            }
        }
    }
}
