//! What the deserializer reports, in a user's words.

use std::fmt;

use serde::de::{self, Expected, Unexpected};
use spillway_policy::config::NOT_AVAILABLE_YET;

use crate::document::suggest;
use crate::document::tree::{Field, Place};

/// One error, and the value that has to go for the rest to be read.
#[derive(Debug, Clone)]
pub(crate) struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    message: String,
    help: Option<String>,
    missing: Option<&'static str>,
    at: Option<Location>,
}

/// Where an error is.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) place: Place,
    pub(super) field: Field,
    /// The way to the value in the tree, by physical positions.
    pub(super) positions: Vec<usize>,
}

impl Error {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Inner { message: message.into(), help: None, missing: None, at: None }))
    }

    pub(super) fn not_yet(what: impl fmt::Display) -> Self {
        Self::new(format!("{what} is {NOT_AVAILABLE_YET}"))
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Sets the place where there is none yet: errors travel outwards, and the innermost place is the best.
    pub(super) fn or_at(mut self, at: impl FnOnce() -> (Place, Field, Vec<usize>)) -> Self {
        self.0.at.get_or_insert_with(|| {
            let (place, field, positions) = at();
            Location { place, field, positions }
        });
        self
    }

    /// Whether a field refused its value without saying which field that is.
    pub(super) fn is_unnamed_not_yet(&self) -> bool {
        self.0.at.is_none() && self.0.message == NOT_AVAILABLE_YET
    }

    /// The field whose absence this is.
    pub(super) fn missing(&self) -> Option<&'static str> {
        self.0.missing
    }

    pub(super) fn into_parts(self) -> (String, Option<String>, Option<Location>) {
        (self.0.message, self.0.help, self.0.at)
    }

    pub(super) fn location(&self) -> Option<&Location> {
        self.0.at.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", plain_words(expected), Found(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::new(format!("unknown value `{variant}`"));
        error.help(suggest::value(variant, expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::new(format!("unknown field `{field}`"));
        error.help(suggest::field(field, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error = Self::new(format!("the field `{field}` is missing"));
        error.0.missing = Some(field);
        error
    }
}

/// What serde's own visitors expect, without the names of Rust's types.
pub(super) fn plain_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    let whole = |from: u8, to: u64| format!("a whole number from {from} to {to}");
    match text.as_str() {
        "u8" => whole(0, u8::MAX.into()),
        "u16" => whole(0, u16::MAX.into()),
        "u32" => whole(0, u32::MAX.into()),
        "a nonzero u8" => whole(1, u8::MAX.into()),
        "a nonzero u16" => whole(1, u16::MAX.into()),
        "a nonzero u32" => whole(1, u32::MAX.into()),
        "u64" | "usize" => "a whole number that is not negative".into(),
        "a nonzero u64" | "a nonzero usize" => "a whole number above zero".into(),
        "a boolean" => "true or false".into(),
        "f32" | "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a map" => "a mapping".into(),
        _ => text,
    }
}

struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "`{value}`"),
            Unexpected::Unsigned(value) => write!(f, "the number {value}"),
            Unexpected::Signed(value) => write!(f, "the number {value}"),
            Unexpected::Float(value) => write!(f, "the number {value}"),
            Unexpected::Str(value) => write!(f, "the string {value:?}"),
            Unexpected::Unit | Unexpected::Option => f.write_str("nothing"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a mapping"),
            other => other.fmt(f),
        }
    }
}
