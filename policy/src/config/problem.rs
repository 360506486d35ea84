//! What is wrong with a configuration, and where.

use std::fmt;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The bytes are not JSON, or not of this shape.
    #[error("{0}")]
    Syntax(#[from] serde_json::Error),
    /// The shape is right and the meaning is not; every problem there is.
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

/// Something that is wrong with a configuration or policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, from the value that was checked: `rateLimits`, 0, `key`, 1.
    pub path: Vec<PathSegment>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Problem {
    /// The same problem, seen from further out.
    pub(crate) fn under(mut self, outer: &[PathSegment]) -> Self {
        self.path.splice(0..0, outer.iter().copied());
        self
    }
}

/// A step on the way to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathSegment {
    /// A field's name as written in documents.
    Field(&'static str),
    /// A place in a list, from 0.
    Index(usize),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.path.iter().enumerate() {
            match segment {
                PathSegment::Field(name) if i == 0 => f.write_str(name)?,
                PathSegment::Field(name) => write!(f, ".{name}")?,
                PathSegment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}
