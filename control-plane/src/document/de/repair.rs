//! Every error, not only the first: what is wrong is taken out and the rest is read again.

use serde::de::DeserializeOwned;

use super::{Path, Reader};
use crate::document::MAX_PROBLEMS;
use crate::document::diagnostic::Problem;
use crate::document::suggest;
use crate::document::tree::{Entry, Node, Status, Value};

/// Each round either reports something or gives up one guess, of which every field has few.
const MAX_ROUNDS: usize = 10 * MAX_PROBLEMS;

/// How many values may be read in all rounds together: a large document is not read for each of a hundred errors.
const MAX_VALUES_READ: usize = 5_000_000;

/// However large, this often a document is read.
const MIN_ROUNDS: usize = 20;

/// More than there are kinds of strings to guess.
const MAX_GUESSES: u8 = 8;

/// What could be read of a value.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    /// The value; where there were problems, what is left of it, with [`Value::Blank`]s where something is required. `None` if
    /// nothing is left.
    pub(crate) value: Option<T>,
    pub(crate) problems: Vec<Problem>,
}

/// Reads a value. What is wrong with it is marked in the tree, so that later checks don't complain about the consequences.
///
/// `name` is the first part of every field's path.
pub(crate) fn read<T: DeserializeOwned>(node: &mut Node, name: &str) -> Reading<T> {
    let mut problems = Vec::new();
    let rounds = (MAX_VALUES_READ / node.size()).clamp(MIN_ROUNDS, MAX_ROUNDS);
    for round in 1..=rounds {
        let path = Path::Root(name);
        let reader = Reader { node, path: &path };
        let error = match T::deserialize(reader) {
            Ok(value) => return Reading { value: Some(value), problems },
            Err(error) => reader.locate(error),
        };
        let missing = error.missing();
        let positions = error.location().map(|at| at.positions.clone()).unwrap_or_default();
        if amend(node, &positions, missing) {
            let (message, help, at) = error.into_parts();
            let mut problem = Problem { place: None, field: String::new(), message, help };
            if let Some(at) = at {
                let mut field = at.field;
                if let Some(missing) = missing {
                    field.push_name(missing);
                }
                problem = problem.at(at.place).field(field.into_string());
            }
            problems.push(problem);
        }
        if node.is_pruned() {
            break;
        }
        if problems.len() == MAX_PROBLEMS || round == rounds {
            let message = format!("more than {} errors: the rest is not shown", problems.len());
            problems.push(Problem::new(message).at(node.place));
            break;
        }
    }
    Reading { value: None, problems }
}

/// Changes the tree so that the same error does not come again. Says whether it is news or the consequence of an earlier one.
fn amend(root: &mut Node, positions: &[usize], missing: Option<&'static str>) -> bool {
    let Some(node) = root.descend_mut(positions) else {
        // Cannot be; nothing more can be read then.
        root.status = Status::Pruned;
        return true;
    };
    let entry = |place, key: &str| Entry { key: key.into(), place, node: Node::blank(place) };
    match (&mut node.value, missing) {
        // It has to be a mapping, and with this field.
        (Value::Blank(_), Some(field)) => {
            node.value = Value::Mapping(vec![entry(node.place, field)]);
            false
        }
        (Value::Blank(guess), None) if *guess < MAX_GUESSES => {
            *guess += 1;
            false
        }
        // Nothing fits the field: what it belongs to cannot be read either.
        (Value::Blank(_), None) => {
            let parent = positions.split_last().map_or(&[][..], |(_, parent)| parent);
            if let Some(parent) = root.descend_mut(parent) {
                parent.status = Status::Pruned;
            }
            false
        }
        (Value::Mapping(entries), Some(field)) => {
            if let Some(entry) = entries.iter_mut().find(|entry| &*entry.key == field) {
                entry.node = Node::blank(entry.place);
                return false;
            }
            // A misspelt name has been reported; that the field is missing follows from it.
            let misspelt = |entry: &Entry| entry.node.is_pruned() && suggest::is_near(&entry.key, field);
            let is_news = node.status == Status::Written && !entries.iter().any(misspelt);
            entries.push(entry(node.place, field));
            is_news
        }
        _ => {
            // What is wrong with a value as a whole may be that a part was taken out of it.
            let is_news = !node.is_tainted();
            node.status = Status::Pruned;
            is_news
        }
    }
}
