//! What a rule's filters change, in Envoy's words.

use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, RuntimeFractionalPercent, header_value_option::HeaderAppendAction,
};
use envoy_types::pb::envoy::config::route::v3::{
    RedirectAction, RouteAction,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
    route_action::{HostRewriteSpecifier, RequestMirrorPolicy},
};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};

use super::matching::{Form, form, regex};
use crate::document::kind::{
    Filter, Fraction, Header, HeaderModifier, Listener, Match, PathModifier, PathModifierKind, RedirectCode,
    RequestMirror, RequestRedirect, Scheme, UrlRewrite,
};

/// Changes in one direction.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) add: Vec<HeaderValueOption>,
    pub(super) remove: Vec<String>,
}

/// Changes in both directions.
#[derive(Debug, Default)]
pub(super) struct HeaderChanges {
    pub(super) request: Changes,
    pub(super) response: Changes,
}

pub(super) fn header_changes(filters: &[Filter]) -> HeaderChanges {
    let mut changes = HeaderChanges::default();
    for filter in filters {
        changes.request.take(filter.request_header_modifier.as_ref());
        changes.response.take(filter.response_header_modifier.as_ref());
    }
    changes
}

impl Changes {
    fn take(&mut self, modifier: Option<&HeaderModifier>) {
        let Some(HeaderModifier { set, add, remove }) = modifier else { return };
        let value = |one: &Header, action| header(&one.name, literal(&one.value), action);
        self.add.extend(set.iter().map(|one| value(one, HeaderAppendAction::OverwriteIfExistsOrAdd)));
        self.add.extend(add.iter().map(|one| value(one, HeaderAppendAction::AppendIfExistsOrAdd)));
        self.remove.extend(remove.iter().cloned());
    }
}

pub(super) fn header(name: &str, value: String, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() }),
        append_action: action.into(),
        ..HeaderValueOption::default()
    }
}

/// Envoy's operators begin with a percent sign.
fn literal(value: &str) -> String {
    value.replace('%', "%%")
}

/// How a path is changed.
enum NewPath {
    Full(String),
    /// What the match's prefix becomes.
    Prefix(String),
    Substitution(RegexMatchAndSubstitute),
}

/// A prefix is one of path elements, and so is what takes its place. `/foo/bar` becomes `/xyz/bar` with `/xyz` for `/foo`, and `/bar` with `/` or nothing for it.
fn new_path(modifier: &PathModifier, condition: &Match) -> Option<NewPath> {
    let PathModifier { kind, replace_full_path, replace_prefix_match } = modifier;
    Some(match kind {
        PathModifierKind::ReplaceFullPath => NewPath::Full(replace_full_path.clone()?),
        PathModifierKind::ReplacePrefixMatch => {
            let replacement = replace_prefix_match.as_deref()?.trim_end_matches('/');
            match (form(condition), replacement) {
                // With its slash, the one that every path begins with is replaced.
                (Form::Any, replacement) => NewPath::Prefix(format!("{replacement}/")),
                // What is left has to begin with a slash, and with one only.
                (Form::Elements(prefix), "") => NewPath::Substitution(RegexMatchAndSubstitute {
                    pattern: Some(regex(&format!("^{}/*", regex_lite::escape(&prefix)))),
                    substitution: "/".to_owned(),
                }),
                (_, replacement) => NewPath::Prefix(replacement.to_owned()),
            }
        }
    })
}

/// Takes the whole of a path; the query stays.
fn substitute_all(path: &str) -> RegexMatchAndSubstitute {
    // A backslash begins a reference to a group.
    RegexMatchAndSubstitute { pattern: Some(regex("^/.*$")), substitution: path.replace('\\', r"\\") }
}

/// Changes what the backend sees.
pub(super) fn rewrite(filters: &[Filter], condition: &Match, mut action: RouteAction) -> RouteAction {
    let Some(UrlRewrite { hostname, path }) = filters.iter().find_map(|filter| filter.url_rewrite.as_ref())
    else {
        return action;
    };
    if let Some(hostname) = hostname {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(hostname.clone()));
    }
    match path.as_ref().and_then(|path| new_path(path, condition)) {
        Some(NewPath::Full(path)) => action.regex_rewrite = Some(substitute_all(&path)),
        Some(NewPath::Prefix(prefix)) => action.prefix_rewrite = prefix,
        Some(NewPath::Substitution(substitution)) => action.regex_rewrite = Some(substitution),
        None => {}
    }
    action
}

/// Where copies go.
pub(super) fn mirrors(filters: &[Filter]) -> Vec<RequestMirrorPolicy> {
    let mirrors = filters.iter().filter_map(|filter| filter.request_mirror.as_ref());
    mirrors
        .map(|RequestMirror { backend_ref, percent, fraction }| RequestMirrorPolicy {
            cluster: backend_ref.name.clone(),
            runtime_fraction: share(*percent, *fraction).map(|share| RuntimeFractionalPercent {
                default_value: Some(share),
                runtime_key: String::new(),
            }),
            // The copy is a copy: its host, too.
            disable_shadow_host_suffix_append: true,
            ..RequestMirrorPolicy::default()
        })
        .collect()
}

fn share(percent: Option<u32>, fraction: Option<Fraction>) -> Option<FractionalPercent> {
    let denominators = [
        (100, DenominatorType::Hundred),
        (10_000, DenominatorType::TenThousand),
        (1_000_000, DenominatorType::Million),
    ];
    let fraction = match (percent, fraction) {
        (None, None) => return None,
        (Some(percent), _) => (u64::from(percent), 100),
        (None, Some(Fraction { numerator, denominator })) => (numerator.into(), u64::from(denominator.get())),
    };
    // Documents have only such as can be kept exactly.
    denominators.into_iter().find_map(|(of, denominator)| {
        let parts = fraction.0.checked_mul(of)?;
        let numerator = u32::try_from(parts.checked_div(fraction.1)?).ok()?;
        (parts % fraction.1 == 0).then(|| FractionalPercent { numerator, denominator: denominator.into() })
    })
}

/// A redirect. Of ports, see [`port`].
pub(super) fn redirect(listener: &Listener, redirect: &RequestRedirect, condition: &Match) -> RedirectAction {
    let RequestRedirect { scheme, hostname, path, port: _, status_code } = redirect;
    let code = match status_code {
        RedirectCode::MovedPermanently => RedirectResponseCode::MovedPermanently,
        RedirectCode::Found => RedirectResponseCode::Found,
        RedirectCode::SeeOther => RedirectResponseCode::SeeOther,
        RedirectCode::TemporaryRedirect => RedirectResponseCode::TemporaryRedirect,
        RedirectCode::PermanentRedirect => RedirectResponseCode::PermanentRedirect,
    };
    let new_path = path.as_ref().and_then(|path| new_path(path, condition));
    RedirectAction {
        host_redirect: hostname.clone().unwrap_or_default(),
        port_redirect: port(listener, redirect).into(),
        response_code: code.into(),
        strip_query: false,
        scheme_rewrite_specifier: scheme
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.name().to_owned())),
        path_rewrite_specifier: new_path.map(|path| match path {
            NewPath::Full(path) => PathRewriteSpecifier::PathRedirect(path),
            NewPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix),
            NewPath::Substitution(substitution) => PathRewriteSpecifier::RegexRewrite(substitution),
        }),
    }
}

/// The port that is put into the URL; 0 for what Envoy does by itself: the request's port with the request's host, and none with another host.
///
/// `HTTPRoute`'s rules: with a scheme and no port it is the scheme's own; with a host only, the listener's. A URL need not name a scheme's own port, and Envoy can
/// leave it out unless the request's host, which stays, may name another.
fn port(listener: &Listener, redirect: &RequestRedirect) -> u16 {
    let of_listener = if listener.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let listens_on = listener.port.get();
    let is_own = |port: u16| port == redirect.scheme.unwrap_or(of_listener).port();
    match (redirect.port, redirect.scheme, &redirect.hostname) {
        (Some(port), _, Some(_)) if is_own(port.get()) => 0,
        (Some(port), _, _) => port.get(),
        (None, Some(_), Some(_)) | (None, None, None) => 0,
        (None, None, Some(_)) => {
            if is_own(listens_on) {
                0
            } else {
                listens_on
            }
        }
        // Envoy takes the port of the request's scheme out of the host.
        (None, Some(scheme), None) => {
            if listens_on == of_listener.port() {
                0
            } else {
                scheme.port()
            }
        }
    }
}

#[cfg(test)]
mod tests;
