//! `when` and `only`: which requests a rule is about. Everything in one match must hold; of a list of matches, any.

use serde::{Deserialize, Serialize};

use crate::asked::{Asked, Thing};
use crate::config::{PathSegment, Problem};
use crate::engine::{Needs, Request};
use crate::header::is_header_name;
use crate::query;
use crate::route_key::template::without_query;

/// A kind of request. What is not given is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMatch {
    /// The path, without its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// `GET`, `POST` and so on; upper and lower case differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Request headers, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueMatch>,
    /// Query parameters, all of them; percent-decoded before they are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<ValueMatch>,
}

/// How the path is compared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RequestPath"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// `PathPrefix` where not given.
    #[serde(rename = "type", default)]
    pub kind: PathMatchKind,
    /// An absolute path, or an expression for one.
    pub value: String,
}

/// The ways to compare paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RequestPathKind"))]
pub enum PathMatchKind {
    /// The whole path, byte for byte.
    Exact,
    /// By path element: `/orders` covers `/orders` and `/orders/7`, not `/ordersx`. A slash at the end does not matter.
    #[default]
    PathPrefix,
    /// A regular expression for the whole path.
    RegularExpression,
}

/// A header or query parameter and its value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueMatch {
    /// Its name; case does not matter for a header, and does for a query parameter.
    pub name: String,
    /// The whole value, or an expression for it.
    pub value: String,
    /// `Exact` where not given.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchKind,
}

/// The ways to compare values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ValueMatchKind {
    /// The whole value, byte for byte.
    #[default]
    Exact,
    /// A regular expression for the whole value.
    RegularExpression,
}

/// The largest program that an expression may become. Matching takes time in proportion to it, and to the length of what is matched.
const MAX_PROGRAM: usize = 64 << 10;

/// An expression for the whole of a value. Bytes that are no UTF-8 are matched as U+FFFD, which `.` and negated classes match: nobody gets around
/// an expression by sending them.
#[derive(Debug, Clone)]
struct Whole(regex_lite::Regex);

impl Whole {
    fn compile(expression: &str) -> Result<Self, String> {
        let build = |text: &str| regex_lite::RegexBuilder::new(text).size_limit(MAX_PROGRAM).build();
        // By itself first: `a)|(b` must not become right by what is put around it.
        let whole = build(expression).and_then(|_| build(&format!("^(?:{expression})$")));
        whole
            .map(Self)
            .map_err(|error| format!("expected a regular expression, found {expression:?}: {error}"))
    }

    fn matches(&self, value: &[u8]) -> bool {
        self.0.is_match(&String::from_utf8_lossy(value))
    }
}

/// A compiled list of matches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matcher(Vec<Vec<Condition>>);

#[derive(Debug, Clone)]
enum Condition {
    Is(Thing, Box<[u8]>),
    Matches(Thing, Whole),
    PathIs(Box<[u8]>),
    /// Without a slash at its end.
    PathBegins(Box<[u8]>),
    PathMatches(Whole),
    QueryIs(Box<[u8]>, Box<[u8]>),
    QueryMatches(Box<[u8]>, Whole),
}

impl Matcher {
    /// Of a list that [`problems`] finds nothing wrong with; a match that does not compile matches nothing.
    pub(crate) fn compile(matches: &[RequestMatch], needs: &mut Needs) -> Self {
        Self(matches.iter().filter_map(|one| compile(one, needs).ok()).collect())
    }

    /// Whether a request is one of these. An empty list is all requests.
    #[inline]
    pub(crate) fn matches<R>(&self, request: &R, needs: &Needs, asked: &mut Asked) -> bool
    where
        R: Request + ?Sized,
    {
        self.0.is_empty() || self.is_any(request, needs, asked)
    }

    fn is_any<R>(&self, request: &R, needs: &Needs, asked: &mut Asked) -> bool
    where
        R: Request + ?Sized,
    {
        let mut holds = |condition: &Condition| condition.holds(request, needs, asked);
        self.0.iter().any(|conditions| conditions.iter().all(&mut holds))
    }
}

impl Condition {
    fn holds<R>(&self, request: &R, needs: &Needs, asked: &mut Asked) -> bool
    where
        R: Request + ?Sized,
    {
        let thing = match self {
            Self::Is(thing, _) | Self::Matches(thing, _) => *thing,
            _ => Thing::Path,
        };
        let Some(value) = asked.get(thing, needs, request) else { return false };
        match self {
            Self::Is(_, expected) => **expected == *value,
            Self::Matches(_, expression) => expression.matches(value),
            Self::PathIs(expected) => **expected == *without_query(value),
            Self::PathBegins(prefix) => {
                let rest = without_query(value).strip_prefix(&**prefix);
                rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
            }
            Self::PathMatches(expression) => expression.matches(without_query(value)),
            Self::QueryIs(name, expected) => {
                query::value(value, name).is_some_and(|value| value.eq(expected.iter().copied()))
            }
            Self::QueryMatches(name, expression) => {
                query::value(value, name).is_some_and(|value| expression.matches(&value.collect::<Vec<_>>()))
            }
        }
    }
}

fn compile(request: &RequestMatch, needs: &mut Needs) -> Result<Vec<Condition>, Vec<Problem>> {
    let RequestMatch { path, method, headers, query_params } = request;
    let mut conditions = Vec::new();
    let mut problems = Vec::new();
    let mut keep = |condition: Result<Condition, String>, place: &[PathSegment]| match condition {
        Ok(condition) => conditions.push(condition),
        Err(message) => problems.push(Problem { path: place.to_vec(), message }),
    };
    if let Some(method) = method {
        let condition = if is_header_name(method) {
            Ok(Condition::Is(needs.header(":method"), method.as_bytes().into()))
        } else {
            Err(format!("expected a method such as GET, found {method:?}"))
        };
        keep(condition, &[PathSegment::Field("method")]);
    }
    if let Some(path) = path {
        needs.thing(Thing::Path);
        keep(path.compile(), &[PathSegment::Field("path"), PathSegment::Field("value")]);
    }
    for (index, header) in headers.iter().enumerate() {
        let field = if is_header_name(&header.name) { "value" } else { "name" };
        let place = [PathSegment::Field("headers"), PathSegment::Index(index), PathSegment::Field(field)];
        keep(header.header(needs), &place);
    }
    for (index, parameter) in query_params.iter().enumerate() {
        needs.thing(Thing::Path);
        let field = if parameter.name.is_empty() { "name" } else { "value" };
        let place = [PathSegment::Field("queryParams"), PathSegment::Index(index), PathSegment::Field(field)];
        keep(parameter.query(), &place);
    }
    if problems.is_empty() { Ok(conditions) } else { Err(problems) }
}

/// Everything that is wrong with a list of matches, with paths from the list.
pub(crate) fn problems(matches: &[RequestMatch]) -> Vec<Problem> {
    let numbered = matches.iter().enumerate();
    let problems =
        numbered.filter_map(|(index, one)| Some((index, compile(one, &mut Needs::default()).err()?)));
    problems
        .flat_map(|(index, problems)| {
            problems.into_iter().map(move |problem| problem.under(&[PathSegment::Index(index)]))
        })
        .collect()
}

impl PathMatch {
    fn compile(&self) -> Result<Condition, String> {
        let Self { kind, value } = self;
        if *kind == PathMatchKind::RegularExpression {
            return Whole::compile(value).map(Condition::PathMatches);
        }
        if !value.starts_with('/') || value.contains(['?', '#']) {
            return Err(format!("expected a path that begins with '/', without query, found {value:?}"));
        }
        Ok(match kind {
            PathMatchKind::PathPrefix => Condition::PathBegins(value.trim_end_matches('/').as_bytes().into()),
            _ => Condition::PathIs(value.as_bytes().into()),
        })
    }
}

impl ValueMatch {
    fn header(&self, needs: &mut Needs) -> Result<Condition, String> {
        let Self { name, value, kind } = self;
        if !is_header_name(name) {
            return Err(format!("expected a header's name, found {name:?}"));
        }
        let thing = needs.header(&name.to_ascii_lowercase());
        match kind {
            ValueMatchKind::Exact => Ok(Condition::Is(thing, value.as_bytes().into())),
            ValueMatchKind::RegularExpression => Ok(Condition::Matches(thing, Whole::compile(value)?)),
        }
    }

    fn query(&self) -> Result<Condition, String> {
        let Self { name, value, kind } = self;
        if name.is_empty() {
            return Err("expected a query parameter's name, found nothing".into());
        }
        let name = name.as_bytes().into();
        match kind {
            ValueMatchKind::Exact => Ok(Condition::QueryIs(name, value.as_bytes().into())),
            ValueMatchKind::RegularExpression => Ok(Condition::QueryMatches(name, Whole::compile(value)?)),
        }
    }
}

#[cfg(test)]
mod tests;
