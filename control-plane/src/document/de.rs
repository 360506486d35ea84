//! Trees to typed documents, with every error at its place.
//!
//! A [`serde::Deserializer`] stops at the first error. Here the value that is wrong is then taken out of the tree and reading starts
//! again (see [`repair`]), until nothing is left to report. The types that are read stay the single truth about the language.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use super::API_VERSION;
use super::scalar::Scalar;
use super::suggest;
use super::tree::{Entry, Field, Node, Value};

mod error;
mod repair;

use error::Error;
pub(crate) use repair::read;

/// Where a value is: a list that grows towards the leaves, on the stack.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root(&'a str),
    Key { parent: &'a Path<'a>, key: &'a str, position: usize },
    Item { parent: &'a Path<'a>, position: usize },
}

impl Path<'_> {
    fn field(&self) -> Field {
        let (mut field, step) = match self {
            Self::Root(_) => (Field::default(), self),
            Self::Key { parent, .. } | Self::Item { parent, .. } => (parent.field(), self),
        };
        match step {
            Self::Root(name) | Self::Key { key: name, .. } if !name.is_empty() => field.push_name(name),
            Self::Root(_) | Self::Key { .. } => {}
            Self::Item { position, .. } => field.push_index(*position),
        }
        field
    }

    fn positions(&self) -> Vec<usize> {
        match self {
            Self::Root(_) => Vec::new(),
            Self::Key { parent, position, .. } | Self::Item { parent, position } => {
                let mut positions = parent.positions();
                positions.push(*position);
                positions
            }
        }
    }
}

/// A value about to be read.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    path: &'a Path<'a>,
}

impl<'a> Reader<'a> {
    /// An error at this value, unless one further in already has its place.
    fn locate(self, error: Error) -> Error {
        error.or_at(|| (self.node.place, self.path.field(), self.path.positions()))
    }

    fn scalar(self) -> Option<Scalar<'a>> {
        match &self.node.value {
            Value::Scalar { text, plain: true } => Some(Scalar::plain(text)),
            Value::Scalar { text, plain: false } => Some(Scalar::Text(text)),
            _ => None,
        }
    }

    /// What stands here, for "expected X, found ...".
    fn found(self) -> String {
        match (&self.node.value, self.scalar()) {
            (_, Some(scalar)) => scalar.to_string(),
            (Value::Sequence(_), _) => "a list".into(),
            _ => "a mapping".into(),
        }
    }

    fn mismatch(self, expected: impl fmt::Display) -> Error {
        let error = Error::new(format!("expected {expected}, found {}", self.found()));
        match self.scalar() {
            Some(Scalar::Null) => error.help("leave the field out, or give it a value"),
            _ => error,
        }
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let Value::Blank(_) = self.node.value {
            return visitor.visit_u64(1);
        }
        match self.scalar() {
            Some(Scalar::Integer(Some(number))) => match (u64::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => Err(self.mismatch(error::plain_words(&visitor))),
            },
            Some(Scalar::Text(text)) if matches!(Scalar::plain(text), Scalar::Integer(_)) => {
                Err(self.mismatch(error::plain_words(&visitor)).help(format!("write {text} without quotes")))
            }
            _ => Err(self.mismatch(error::plain_words(&visitor))),
        }
    }

    fn sequence<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Sequence(items) => {
                visitor.visit_seq(Items { rest: items.iter().enumerate(), path: self.path })
            }
            Value::Blank(_) => visitor.visit_seq(Items { rest: [].iter().enumerate(), path: self.path }),
            _ => Err(self.mismatch("a list")),
        }
    }

    fn mapping<'de, V: Visitor<'de>>(
        self,
        expected: impl fmt::Display,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries = match &self.node.value {
            Value::Mapping(entries) => entries.as_slice(),
            Value::Blank(_) => &[],
            _ => return Err(self.mismatch(expected)),
        };
        visitor.visit_map(Entries { rest: entries.iter().enumerate(), path: self.path, current: None })
    }

    fn string(self, expected: &dyn Expected) -> Result<&'a str, Error> {
        /// Enough for the strings and quantities that required fields have.
        const GUESSES: [&str; 7] = ["x", "1s", "1/s", "1%", "127.0.0.1", "/", API_VERSION];
        if let Value::Blank(attempt) = self.node.value {
            let guess = GUESSES.get(usize::from(attempt));
            return guess.copied().ok_or_else(|| Error::new("no more guesses"));
        }
        match (self.scalar(), &self.node.value) {
            (Some(Scalar::Text(text)), _) => Ok(text),
            (Some(scalar), Value::Scalar { text, .. })
                if scalar != Scalar::Null && expected.to_string() == "a string" =>
            {
                Err(self.mismatch(expected).help(format!("quote it: \"{text}\"")))
            }
            _ => Err(self.mismatch(error::plain_words(expected))),
        }
    }
}

/// Implements the methods that all come to the same.
macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.number(visitor)
        })*
    };
}

macro_rules! strings {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = self.string(&visitor)?;
            visitor.visit_str(text)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Error;

    strings! {
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (&self.node.value, self.scalar()) {
            (Value::Sequence(_), _) => self.sequence(visitor),
            (Value::Mapping(_), _) => self.mapping("a mapping", visitor),
            (_, Some(Scalar::Text(text))) => visitor.visit_str(text),
            (_, Some(Scalar::Bool(value))) => visitor.visit_bool(value),
            (_, Some(Scalar::Float(value))) => visitor.visit_f64(value),
            (_, Some(Scalar::Null)) => visitor.visit_unit(),
            (_, Some(Scalar::Integer(_))) => self.number(visitor),
            (Value::Scalar { .. } | Value::Blank(_), _) => self.deserialize_str(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (&self.node.value, self.scalar()) {
            (Value::Blank(_), _) => visitor.visit_bool(false),
            (_, Some(Scalar::Bool(value))) => visitor.visit_bool(value),
            _ => Err(self.mismatch("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scalar() {
            Some(Scalar::Float(value)) => visitor.visit_f64(value),
            _ => self.number(visitor),
        }
    }

    /// A field that is there has a value: `field:` with nothing behind it is an error, not the same as no field.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scalar() {
            Some(Scalar::Null) => visitor.visit_unit(),
            _ => Err(self.mismatch("nothing")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.sequence(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.sequence(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.sequence(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.mapping("a mapping", visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.mapping(format_args!("a mapping with {}", suggest::list(fields)), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let word = match (&self.node.value, self.scalar()) {
            (Value::Blank(_), _) => variants.first().copied().unwrap_or_default(),
            (_, Some(Scalar::Text(text))) => text,
            _ => return Err(self.mismatch(suggest::one_of(variants))),
        };
        if suggest::is_later_value(name, word, variants) {
            return Err(Error::not_yet(format!("`{word}`")));
        }
        visitor.visit_enum(word.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

struct Items<'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: &'a Path<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((position, node)) = self.rest.find(|(_, node)| !node.is_pruned()) else { return Ok(None) };
        let path = Path::Item { parent: self.path, position };
        let reader = Reader { node, path: &path };
        seed.deserialize(reader).map(Some).map_err(|error| reader.locate(error))
    }
}

struct Entries<'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Entry>>,
    path: &'a Path<'a>,
    current: Option<(usize, &'a Entry)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.rest.find(|(_, entry)| !entry.node.is_pruned());
        let Some((position, entry)) = self.current else { return Ok(None) };
        let path = Path::Key { parent: self.path, key: &entry.key, position };
        let key: de::value::StrDeserializer<'_, Error> = (*entry.key).into_deserializer();
        let located = |error: Error| error.or_at(|| (entry.place, path.field(), path.positions()));
        seed.deserialize(key).map(Some).map_err(located)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((position, entry)) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let path = Path::Key { parent: self.path, key: &entry.key, position };
        let reader = Reader { node: &entry.node, path: &path };
        seed.deserialize(reader).map_err(|error| {
            if error.is_unnamed_not_yet() {
                // The field itself is what is not available: point at its name.
                let error = Error::not_yet(format!("`{}`", entry.key));
                return error.or_at(|| (entry.place, path.field(), path.positions()));
            }
            reader.locate(error)
        })
    }
}
