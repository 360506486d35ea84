//! A document as a tree in which every value knows where it was written.

use std::fmt;

use super::scalar::Scalar;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// How many characters of that line are meant; 0 where it is not known.
    pub length: u32,
}

/// One value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
    pub(crate) status: Status,
}

/// Whether a value is what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Written,
    /// Taken out because of an error that has been reported, so that the rest can still be read.
    Pruned,
    /// Put in for something required whose absence or error has been reported.
    Invented,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar {
        text: Box<str>,
        /// Written without quotes, so that the core schema may see a number, a boolean or nothing in it.
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// Anything that fits, always invented; the number is how many guesses did not fit.
    Blank(u8),
}

/// A key of a mapping and its value. Keys are unique among the entries.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Box<str>,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// From a value to one within it, as typed documents number things: what was pruned does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Field(&'static str),
    Item(usize),
}

impl From<&'static str> for Step {
    fn from(name: &'static str) -> Self {
        Self::Field(name)
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Item(index)
    }
}

/// What stands where a path leads.
pub(crate) struct Found {
    pub(crate) place: Place,
    /// The path as the file numbers it, such as `spec.rules[0].backendRefs[1].weight`.
    pub(crate) field: Field,
    /// Errors were reported here or within: what was read from it is not what was written.
    pub(crate) tainted: bool,
}

impl Node {
    pub(crate) fn new(place: Place, value: Value) -> Self {
        Self { place, value, status: Status::Written }
    }

    pub(crate) fn blank(place: Place) -> Self {
        Self { place, value: Value::Blank(0), status: Status::Invented }
    }

    pub(crate) fn is_pruned(&self) -> bool {
        self.status == Status::Pruned
    }

    /// How many values it consists of, itself included.
    pub(crate) fn size(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } | Value::Blank(_) => 1,
            Value::Sequence(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Mapping(entries) => 1 + entries.iter().map(|entry| entry.node.size()).sum::<usize>(),
        }
    }

    /// The value of a key, unless it was pruned.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node).filter(|node| !node.is_pruned())
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| &*entry.key == key),
            _ => None,
        }
    }

    /// Follows physical positions, pruned ones included.
    pub(crate) fn descend_mut(&mut self, positions: &[usize]) -> Option<&mut Self> {
        positions.iter().try_fold(self, |node, position| match &mut node.value {
            Value::Sequence(items) => items.get_mut(*position),
            Value::Mapping(entries) => entries.get_mut(*position).map(|entry| &mut entry.node),
            Value::Scalar { .. } | Value::Blank(_) => None,
        })
    }

    /// Where `path` leads; where its end is absent, the last value on the way to it.
    pub(crate) fn find(&self, path: &[Step]) -> Found {
        let mut node = self;
        let mut field = Field::default();
        let mut tainted = false;
        for (at, step) in path.iter().enumerate() {
            let next = match (step, &node.value) {
                (Step::Field(name), Value::Mapping(_)) => {
                    field.push_name(name);
                    let entry = node.entry(name);
                    tainted |= entry.is_some_and(|entry| entry.node.is_pruned());
                    entry.map(|entry| &entry.node).filter(|node| !node.is_pruned())
                }
                (Step::Item(index), Value::Sequence(items)) => {
                    let found = items.iter().enumerate().filter(|(_, item)| !item.is_pruned()).nth(*index);
                    field.push_index(found.map_or(*index, |(position, _)| position));
                    found.map(|(_, item)| item)
                }
                _ => None,
            };
            let Some(next) = next else {
                // A path that ends in an absent field is that field's; one cut short earlier is no longer of this tree.
                tainted |= at + 1 < path.len();
                return Found { place: node.place, field, tainted };
            };
            node = next;
        }
        Found { place: node.place, field, tainted: tainted || node.is_tainted() }
    }

    /// Moves every place down by some lines.
    pub(crate) fn shift(&mut self, lines: u32) {
        self.place.line = self.place.line.saturating_add(lines);
        match &mut self.value {
            Value::Scalar { .. } | Value::Blank(_) => {}
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Mapping(entries) => entries.iter_mut().for_each(|entry| {
                entry.place.line = entry.place.line.saturating_add(lines);
                entry.node.shift(lines);
            }),
        }
    }

    /// The value in JSON's terms. Numbers that JSON does not have stay text.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::{Number, Value as Json};
        match &self.value {
            Value::Scalar { text, plain: false } => Json::String(text.to_string()),
            Value::Scalar { text, plain: true } => {
                let number = match Scalar::plain(text) {
                    Scalar::Null => return Json::Null,
                    Scalar::Bool(value) => return Json::Bool(value),
                    Scalar::Integer(Some(value)) => Number::from_i128(value),
                    Scalar::Float(value) => Number::from_f64(value),
                    Scalar::Integer(None) | Scalar::Text(_) => None,
                };
                number.map_or_else(|| Json::String(text.to_string()), Json::Number)
            }
            Value::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Value::Mapping(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.to_string(), entry.node.to_json()));
                Json::Object(entries.collect())
            }
            Value::Blank(_) => Json::Null,
        }
    }

    /// Whether errors were reported here or within.
    pub(crate) fn is_tainted(&self) -> bool {
        self.status != Status::Written
            || match &self.value {
                Value::Scalar { .. } | Value::Blank(_) => false,
                Value::Sequence(items) => items.iter().any(Self::is_tainted),
                Value::Mapping(entries) => entries.iter().any(|entry| entry.node.is_tainted()),
            }
    }
}

/// A path of fields as people write it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Field(String);

impl Field {
    pub(crate) fn push_name(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(name);
    }

    pub(crate) fn push_index(&mut self, index: usize) {
        use fmt::Write;
        // Writing to a string cannot fail.
        let _ = write!(self.0, "[{index}]");
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}
