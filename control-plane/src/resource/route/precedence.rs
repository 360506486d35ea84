//! Which of two matches is asked first.
//!
//! The Gateway API's order for `HTTPRoute`: an exact path before a prefix, a longer prefix before a shorter one, a method before none, more headers before
//! fewer, more query parameters before fewer. What it leaves open: an expression for a path stands between exact paths and prefixes, the longest expression
//! first; a gRPC service and method are the path that their calls have; and in the end a route key goes before none. What is still equal goes by the routes' names, and within
//! a route by the order in which rules and matches are written.

use std::cmp::Reverse;

use super::matching::{Form, form};
use crate::document::kind::Match;

/// How a path is asked for; the greatest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Prefix,
    Expression,
    Exact,
}

/// The smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence(Reverse<(Rank, usize, bool, usize, usize, bool)>);

pub(crate) fn precedence(condition: &Match) -> Precedence {
    let (rank, length) = match form(condition) {
        Form::Exact(path) => (Rank::Exact, path.len()),
        Form::Expression(expression) => (Rank::Expression, expression.len()),
        Form::Elements(path) => (Rank::Prefix, path.len()),
        Form::Any => (Rank::Prefix, 0),
    };
    let Match { path: _, grpc: _, method, headers, query_params, route_key, mqtt: _ } = condition;
    Precedence(Reverse((
        rank,
        length,
        method.is_some(),
        headers.len(),
        query_params.len(),
        route_key.is_some(),
    )))
}
