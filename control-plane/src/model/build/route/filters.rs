//! What has to hold for the filters of a rule.

use super::bytes;
use crate::document::kind::{
    Filter, FilterKind, HeaderModifier, Kind, PathMatchKind, PathModifier, PathModifierKind, RequestMirror,
    Route, Rule,
};
use crate::document::{Document, Step};
use crate::model::build::{Check, steps};

pub(super) fn check(check: &mut Check<'_>, document: &Document, route: &Route, i: usize, rule: &Rule) {
    let place = |j: usize| steps!["spec", "rules", i, "filters", j].to_vec();
    let filters = || rule.filters.iter().enumerate();
    let single = filters().filter(|(_, filter)| filter.kind != FilterKind::RequestMirror);
    check.unique(document, single.map(|(j, filter)| (filter.kind, place(j))), &["type"], |kind| {
        format!("a rule has one {kind:?} at most")
    });
    let redirects = filters().any(|(_, filter)| filter.kind == FilterKind::RequestRedirect);
    for (j, filter) in filters() {
        let place = place(j);
        if !document.is_sound(&place, &["type"]) {
            continue;
        }
        if redirects && matches!(filter.kind, FilterKind::UrlRewrite | FilterKind::RequestMirror) {
            let message = "a rule that redirects sends nothing to a Backend";
            check.report(document, &[&place, steps!["type"]].concat(), message, None);
        }
        shape(check, document, &place, filter);
        contents(check, document, &place, route, rule, filter);
    }
}

/// The field that `type` names, and no other.
fn shape(check: &mut Check<'_>, document: &Document, place: &[Step], filter: &Filter) {
    let Filter {
        kind,
        request_header_modifier,
        response_header_modifier,
        request_redirect,
        url_rewrite,
        request_mirror,
    } = filter;
    let given = [
        (FilterKind::RequestHeaderModifier, request_header_modifier.is_some()),
        (FilterKind::ResponseHeaderModifier, response_header_modifier.is_some()),
        (FilterKind::RequestRedirect, request_redirect.is_some()),
        (FilterKind::UrlRewrite, url_rewrite.is_some()),
        (FilterKind::RequestMirror, request_mirror.is_some()),
    ];
    for (other, is_given) in given {
        let field = other.field();
        if other == *kind && !is_given && document.is_sound(place, &[field]) {
            check.report(document, place, format!("the field `{field}` is missing"), None);
        }
        if other != *kind && is_given {
            let message = format!("a filter of this type has no `{field}`");
            check.report(document, &[place, &[Step::Field(field)]].concat(), message, None);
        }
    }
}

fn contents(
    check: &mut Check<'_>,
    document: &Document,
    place: &[Step],
    route: &Route,
    rule: &Rule,
    filter: &Filter,
) {
    let place = &[place, &[Step::Field(filter.kind.field())]].concat();
    match filter.kind {
        FilterKind::RequestHeaderModifier => {
            headers(check, document, place, filter.request_header_modifier.as_ref());
        }
        FilterKind::ResponseHeaderModifier => {
            headers(check, document, place, filter.response_header_modifier.as_ref());
        }
        FilterKind::RequestRedirect => {
            let path = filter.request_redirect.as_ref().and_then(|redirect| redirect.path.as_ref());
            new_path(check, document, place, rule, path);
        }
        FilterKind::UrlRewrite => {
            let Some(rewrite) = &filter.url_rewrite else { return };
            if rewrite.hostname.is_none()
                && rewrite.path.is_none()
                && document.is_sound(place, &["hostname", "path"])
            {
                check.report(document, place, "expected a `hostname`, a `path`, or both", None);
            }
            new_path(check, document, place, rule, rewrite.path.as_ref());
        }
        FilterKind::RequestMirror => {
            if let Some(mirrored) = &filter.request_mirror {
                mirror(check, document, place, route, mirrored);
            }
        }
    }
}

fn headers(check: &mut Check<'_>, document: &Document, place: &[Step], modifier: Option<&HeaderModifier>) {
    let Some(HeaderModifier { set, add, remove }) = modifier else { return };
    let named = |field: &'static str, k: usize| [place, steps![field, k]].concat();
    let set = set.iter().enumerate().map(|(k, one)| (one.name.to_ascii_lowercase(), named("set", k)));
    let add = add.iter().enumerate().map(|(k, one)| (one.name.to_ascii_lowercase(), named("add", k)));
    let remove = remove.iter().enumerate().map(|(k, one)| (one.to_ascii_lowercase(), named("remove", k)));
    let all: Vec<_> = set.chain(add).chain(remove).collect();
    if all.is_empty() && document.is_sound(place, &["set", "add", "remove"]) {
        check.report(document, place, "expected something to set, add or remove", None);
    }
    check.unique(document, all, &[], |name| format!("the header `{name}` is changed already"));
}

fn new_path(
    check: &mut Check<'_>,
    document: &Document,
    place: &[Step],
    rule: &Rule,
    path: Option<&PathModifier>,
) {
    let Some(PathModifier { kind, replace_full_path, replace_prefix_match }) = path else { return };
    let place = &[place, steps!["path"]].concat();
    if !document.is_sound(place, &["type"]) {
        return;
    }
    let (wanted, has_wanted, other, has_other) = match kind {
        PathModifierKind::ReplaceFullPath => (
            "replaceFullPath",
            replace_full_path.is_some(),
            "replacePrefixMatch",
            replace_prefix_match.is_some(),
        ),
        PathModifierKind::ReplacePrefixMatch => (
            "replacePrefixMatch",
            replace_prefix_match.is_some(),
            "replaceFullPath",
            replace_full_path.is_some(),
        ),
    };
    if !has_wanted && document.is_sound(place, &[wanted]) {
        check.report(document, place, format!("the field `{wanted}` is missing"), None);
    }
    if has_other {
        let message = format!("a path of this type has no `{other}`");
        check.report(document, &[place, &[Step::Field(other)][..]].concat(), message, None);
    }
    let is_by_prefix = rule.matches.iter().all(|each| {
        each.grpc.is_none() && each.path.as_ref().is_none_or(|path| path.kind == PathMatchKind::PathPrefix)
    });
    if *kind == PathModifierKind::ReplacePrefixMatch && !is_by_prefix {
        let message = "there is no prefix to replace: every match of the rule has to be a PathPrefix";
        check.report(document, &[place, steps!["type"]].concat(), message, None);
    }
}

fn mirror(check: &mut Check<'_>, document: &Document, place: &[Step], route: &Route, mirror: &RequestMirror) {
    let RequestMirror { backend_ref, percent, fraction } = mirror;
    let reference = [place, steps!["backendRef"]].concat();
    check.resolve(document, &reference, Kind::Backend, &backend_ref.name, None);
    bytes::backend(check, document, &reference, route, &backend_ref.name);
    if percent.is_some_and(|percent| percent > 100) {
        let message = "expected a whole number from 0 to 100";
        check.report(document, &[place, steps!["percent"]].concat(), message, None);
    }
    let Some(fraction) = fraction else { return };
    let place = [place, steps!["fraction"]].concat();
    if percent.is_some() {
        check.report(document, &place, "a mirror has `percent` or `fraction`", None);
    }
    if fraction.numerator > fraction.denominator.get() {
        let message = format!("{} of {} is more than all", fraction.numerator, fraction.denominator);
        check.report(document, &place, message, None);
    }
    let exact = [100, 10_000, 1_000_000];
    if !exact.iter().any(|denominator| {
        u64::from(fraction.numerator) * denominator % u64::from(fraction.denominator.get()) == 0
    }) {
        let message = "the share can't be kept exactly: it needs to be a whole number of millionths";
        check.report(document, &place, message, None);
    }
}
