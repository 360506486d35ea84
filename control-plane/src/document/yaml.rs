//! YAML text to trees with places.
//!
//! YAML 1.2: no merge keys, no tags except `!!str`. Aliases are expanded; how deep, how many values and how far an alias may multiply
//! them is bounded, so that a small file can't become a large tree.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::MAX_PROBLEMS;
use super::diagnostic::Problem;
use super::tree::{Entry, Node, Place, Value};

mod complaint;

/// How deep values may nest.
const MAX_DEPTH: usize = 64;

/// How many values one file may have, aliases expanded.
const MAX_VALUES: usize = 500_000;

const UNKNOWN_ANCHOR: &str = "this alias refers to no anchor before it in the document";

/// What a text holds: its documents up to the first error of syntax, and everything wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Documents that are not empty.
    pub(crate) documents: Vec<Node>,
    pub(crate) problems: Vec<Problem>,
    /// Whether the text could be read to its end.
    pub(crate) complete: bool,
}

pub(crate) fn parse(text: &str) -> Parsed {
    let mut builder = Builder::default();
    let outcome = builder.read(text);
    let complete = outcome.is_ok();
    builder.problems.extend(outcome.err());
    Parsed { documents: builder.documents, problems: builder.problems, complete }
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    problems: Vec<Problem>,
    /// The collections that are open, outermost first.
    open: Vec<Open>,
    /// Finished values that have an anchor, with how many values they are.
    anchors: HashMap<usize, (Node, usize)>,
    values: usize,
}

struct Open {
    place: Place,
    anchor: usize,
    /// `values` when it was opened.
    from: usize,
    kind: Kind,
}

enum Kind {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        keys: HashSet<Box<str>>,
        /// The key whose value comes next.
        key: Option<(Box<str>, Place)>,
    },
}

impl Builder {
    fn read(&mut self, text: &str) -> Result<(), Problem> {
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| complaint::problem(text, &error))?;
            let place = place(span);
            match event {
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, anchor, tag.as_deref(), place)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(place, anchor, tag.as_deref(), Kind::Sequence(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    let kind = Kind::Mapping { entries: Vec::new(), keys: HashSet::new(), key: None };
                    self.open(place, anchor, tag.as_deref(), kind)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Alias(anchor) => self.alias(anchor, place)?,
                Event::DocumentStart(_) => self.anchors.clear(),
                Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
            }
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        place: Place,
    ) -> Result<(), Problem> {
        let as_string = match tag {
            None => false,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
            Some(tag) => return Err(unexpected_tag(tag, place)),
        };
        self.count(1, place)?;
        if let Some(Open { kind: Kind::Mapping { keys, key: key @ None, .. }, .. }) = self.open.last_mut() {
            if !keys.insert(text.into()) && self.problems.len() < MAX_PROBLEMS {
                self.problems.push(Problem::new(format!("the key `{text}` is there twice")).at(place));
            }
            *key = Some((text.into(), place));
            return Ok(());
        }
        let plain = style == ScalarStyle::Plain && !as_string;
        self.add(Node::new(place, Value::Scalar { text: text.into(), plain }), anchor, 1)
    }

    fn open(&mut self, place: Place, anchor: usize, tag: Option<&Tag>, kind: Kind) -> Result<(), Problem> {
        if let Some(tag) = tag {
            return Err(unexpected_tag(tag, place));
        }
        if self.expects_key() {
            return Err(Problem::new("a list or mapping cannot be a key").at(place));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::new(format!("values nest deeper than {MAX_DEPTH} levels")).at(place));
        }
        self.count(1, place)?;
        self.open.push(Open { place, anchor, from: self.values - 1, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(Open { mut place, anchor, from, kind }) = self.open.pop() else { return Ok(()) };
        let value = match kind {
            Kind::Sequence(items) => Value::Sequence(items),
            Kind::Mapping { entries, .. } => {
                // A mapping in block style has no character of its own: its first key stands for it.
                if let (0, Some(first)) = (place.length, entries.first()) {
                    place = first.place;
                }
                Value::Mapping(entries)
            }
        };
        self.add(Node::new(place, value), anchor, self.values - from)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Problem> {
        if self.expects_key() {
            return Err(Problem::new("an alias cannot be a key").at(place));
        }
        let Some((node, values)) = self.anchors.get(&anchor) else {
            // The parser still knows the anchors of the documents before.
            let is_open = self.open.iter().any(|open| open.anchor == anchor);
            let message =
                if is_open { "this alias stands within the value it refers to" } else { UNKNOWN_ANCHOR };
            return Err(Problem::new(message).at(place));
        };
        let (values, depth) = (*values, depth(node));
        if self.open.len() + depth > MAX_DEPTH {
            return Err(Problem::new(format!("values nest deeper than {MAX_DEPTH} levels")).at(place));
        }
        let node = node.clone();
        self.count(values, place)?;
        self.add(node, 0, values)
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { kind: Kind::Mapping { key: None, .. }, .. }))
    }

    fn count(&mut self, values: usize, place: Place) -> Result<(), Problem> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(Problem::new(format!(
                "the file has more than {MAX_VALUES} values, aliases expanded"
            ))
            .at(place));
        }
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize, values: usize) -> Result<(), Problem> {
        if anchor != 0 {
            // The copy that is kept for aliases is paid for like one that is written out.
            self.count(values, node.place)?;
            self.anchors.insert(anchor, (node.clone(), values));
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None if is_nothing(&node) => {}
            None => self.documents.push(node),
            Some(Kind::Sequence(items)) => items.push(node),
            Some(Kind::Mapping { entries, key, .. }) => {
                // The second value of a key that is there twice has been reported and is not read.
                if let Some((key, place)) = key.take()
                    && !entries.iter().any(|entry| entry.key == key)
                {
                    entries.push(Entry { key, place, node });
                }
            }
        }
        Ok(())
    }
}

fn is_nothing(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, plain: true } if text.is_empty())
}

/// How many levels a value has. Values are at most [`MAX_DEPTH`] deep.
fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } | Value::Blank(_) => 0,
        Value::Sequence(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Mapping(entries) => {
            1 + entries.iter().map(|entry| depth(&entry.node)).max().unwrap_or_default()
        }
    }
}

fn place(span: Span) -> Place {
    let saturate = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let length = if span.end.line() == span.start.line() {
        span.end.col().saturating_sub(span.start.col())
    } else {
        0
    };
    Place {
        line: saturate(span.start.line()),
        column: saturate(span.start.col()).saturating_add(1),
        length: saturate(length),
    }
}

fn unexpected_tag(tag: &Tag, place: Place) -> Problem {
    Problem::new(format!("unexpected tag `{tag}`"))
        .at(place)
        .help("values have no tags here; quote what is to be a string")
}

#[cfg(test)]
mod tests;
