//! What a rule asks of a request, in Envoy's words.

use std::borrow::Cow;

use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher, QueryParameterMatcher, RouteMatch,
    header_matcher::HeaderMatchSpecifier,
    query_parameter_matcher::QueryParameterMatchSpecifier,
    route_match::{GrpcRouteMatchOptions, PathSpecifier},
};
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};

use super::ROUTE_KEY_HEADER;
use crate::document::kind::{
    GrpcMatch, HeaderMatch, Match, PathMatch, PathMatchKind, QueryParamMatch, ValueMatchKind,
};

/// What is asked of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// This one.
    Exact(Cow<'a, str>),
    /// This one and those below it; without a slash at the end.
    Elements(Cow<'a, str>),
    Expression(Cow<'a, str>),
    Any,
}

/// The path that a match asks for, in whatever way it says so.
pub(super) fn form(condition: &Match) -> Form<'_> {
    if let Some(grpc) = &condition.grpc {
        let GrpcMatch { service, method } = grpc;
        return match (service, method) {
            (Some(service), Some(method)) => Form::Exact(format!("/{service}/{method}").into()),
            (Some(service), None) => Form::Elements(format!("/{service}").into()),
            (None, Some(method)) => Form::Expression(format!("/[^/]+/{method}").into()),
            (None, None) => Form::Any,
        };
    }
    match &condition.path {
        Some(PathMatch { kind: PathMatchKind::Exact, value }) => Form::Exact(value.into()),
        Some(PathMatch { kind: PathMatchKind::RegularExpression, value }) => Form::Expression(value.into()),
        Some(PathMatch { kind: PathMatchKind::PathPrefix, value }) => match value.trim_end_matches('/') {
            "" => Form::Any,
            prefix => Form::Elements(prefix.into()),
        },
        None => Form::Any,
    }
}

pub(super) fn route_match(condition: &Match) -> RouteMatch {
    let Match { path: _, method, headers, query_params, grpc, route_key, mqtt: _ } = condition;
    let method = method.iter().map(|method| header(":method", exactly(method)));
    let headers = headers.iter().map(|HeaderMatch { name, value, kind }| header(name, text(*kind, value)));
    // Clients can't set it; the filter does, before the route is chosen.
    let route_key = route_key.iter().map(|key| header(ROUTE_KEY_HEADER, exactly(&key.value)));
    RouteMatch {
        path_specifier: Some(path_specifier(condition)),
        headers: method.chain(headers).chain(route_key).collect(),
        query_parameters: query_params.iter().map(query_parameter).collect(),
        grpc: grpc.as_ref().map(|_| GrpcRouteMatchOptions::default()),
        ..RouteMatch::default()
    }
}

fn path_specifier(condition: &Match) -> PathSpecifier {
    match form(condition) {
        Form::Exact(path) => PathSpecifier::Path(path.into_owned()),
        Form::Elements(path) => PathSpecifier::PathSeparatedPrefix(path.into_owned()),
        Form::Expression(expression) => PathSpecifier::SafeRegex(regex(&expression)),
        Form::Any => PathSpecifier::Prefix("/".to_owned()),
    }
}

fn query_parameter(QueryParamMatch { name, value, kind }: &QueryParamMatch) -> QueryParameterMatcher {
    QueryParameterMatcher {
        name: name.clone(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(text(*kind, value))),
    }
}

pub(super) fn header(name: &str, value: StringMatcher) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_ascii_lowercase(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
        ..HeaderMatcher::default()
    }
}

fn text(kind: ValueMatchKind, value: &str) -> StringMatcher {
    match kind {
        ValueMatchKind::Exact => exactly(value),
        ValueMatchKind::RegularExpression => StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(regex(value))),
            ..StringMatcher::default()
        },
    }
}

pub(super) fn exactly(value: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(value.to_owned())), ..StringMatcher::default() }
}

/// The engine is RE2 unless said otherwise, and the whole text has to match.
pub(super) fn regex(expression: &str) -> RegexMatcher {
    RegexMatcher { regex: expression.to_owned(), ..RegexMatcher::default() }
}
