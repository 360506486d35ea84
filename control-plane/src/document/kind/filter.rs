//! What a rule changes of requests and responses, in the shapes of the Gateway API's `HTTPRoute`.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::document::syntax;

/// One change; the field that `type` names has to be there, and no other.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// What it does.
    #[serde(rename = "type")]
    pub kind: FilterKind,
    /// For `RequestHeaderModifier`.
    pub request_header_modifier: Option<HeaderModifier>,
    /// For `ResponseHeaderModifier`.
    pub response_header_modifier: Option<HeaderModifier>,
    /// For `RequestRedirect`.
    pub request_redirect: Option<RequestRedirect>,
    /// For `URLRewrite`.
    pub url_rewrite: Option<UrlRewrite>,
    /// For `RequestMirror`.
    pub request_mirror: Option<RequestMirror>,
}

/// What filters do. Of each but `RequestMirror` a rule has one at most, and a redirect stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
pub enum FilterKind {
    /// Changes headers on their way to the backend.
    RequestHeaderModifier,
    /// Changes headers on their way back.
    ResponseHeaderModifier,
    /// Answers with a redirect. A rule that does has no backendRefs.
    RequestRedirect,
    /// Changes the host or the path that the backend sees.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// Sends a copy to another backend, whose answer is dropped.
    RequestMirror,
}

impl FilterKind {
    /// The field that describes it.
    pub const fn field(self) -> &'static str {
        match self {
            Self::RequestHeaderModifier => "requestHeaderModifier",
            Self::ResponseHeaderModifier => "responseHeaderModifier",
            Self::RequestRedirect => "requestRedirect",
            Self::UrlRewrite => "urlRewrite",
            Self::RequestMirror => "requestMirror",
        }
    }
}

/// Changes of headers. A name may occur once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HeaderModifier {
    /// Replaces the header, or adds it.
    pub set: Vec<Header>,
    /// Adds a value to those that are there.
    pub add: Vec<Header>,
    /// Takes the header away.
    #[serde(deserialize_with = "syntax::modified_headers")]
    pub remove: Vec<String>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Case does not matter.
    #[serde(deserialize_with = "syntax::modified_header")]
    pub name: String,
    /// The value, as it is.
    #[serde(deserialize_with = "syntax::header_value")]
    #[schemars(length(min = 1))]
    pub value: String,
}

/// A redirect. What is not given stays as in the request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestRedirect {
    /// `http` or `https`.
    pub scheme: Option<Scheme>,
    /// Another host.
    #[serde(default, deserialize_with = "syntax::server_name")]
    pub hostname: Option<String>,
    /// Another path; the query stays.
    pub path: Option<PathModifier>,
    /// Another port. Where it is not given and the scheme is, the scheme's own; where only the host is, the listener's; else the request's.
    pub port: Option<NonZeroU16>,
    /// 301, 302, 303, 307 or 308; 302 where not given.
    #[serde(default)]
    #[schemars(with = "u16", extend("enum" = [301, 302, 303, 307, 308]))]
    pub status_code: RedirectCode,
}

/// What a redirect leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Scheme {
    /// Plain.
    #[serde(rename = "http")]
    Http,
    /// Over TLS.
    #[serde(rename = "https")]
    Https,
}

impl Scheme {
    /// As it is written in URLs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that URLs need not name.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The status of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectCode {
    /// 301
    MovedPermanently,
    /// 302
    #[default]
    Found,
    /// 303
    SeeOther,
    /// 307
    TemporaryRedirect,
    /// 308
    PermanentRedirect,
}

impl RedirectCode {
    /// As it stands in a response.
    pub const fn status(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

impl<'de> Deserialize<'de> for RedirectCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u16::deserialize(deserializer)? {
            301 => Ok(Self::MovedPermanently),
            302 => Ok(Self::Found),
            303 => Ok(Self::SeeOther),
            307 => Ok(Self::TemporaryRedirect),
            308 => Ok(Self::PermanentRedirect),
            other => Err(D::Error::custom(format!("expected 301, 302, 303, 307 or 308, found {other}"))),
        }
    }
}

/// Another path. The field that `type` names has to be there, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathModifier {
    /// Which part is replaced.
    #[serde(rename = "type")]
    pub kind: PathModifierKind,
    /// The new path.
    #[serde(default, deserialize_with = "syntax::new_path")]
    pub replace_full_path: Option<String>,
    /// What takes the place of the prefix that the rule matched, by path element: with `/xyz` for `/foo`, `/foo/bar` becomes `/xyz/bar`.
    #[serde(default, deserialize_with = "syntax::new_prefix")]
    pub replace_prefix_match: Option<String>,
}

/// The part of a path that is replaced; the query stays in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PathModifierKind {
    /// All of it.
    ReplaceFullPath,
    /// The prefix that the rule matched. Every match of the rule has to be one by prefix.
    ReplacePrefixMatch,
}

/// What the backend sees in place of what the client asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlRewrite {
    /// Another host.
    #[serde(default, deserialize_with = "syntax::server_name")]
    pub hostname: Option<String>,
    /// Another path.
    pub path: Option<PathModifier>,
}

/// A copy of requests. `percent` or `fraction` say of how many; of all where neither does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMirror {
    /// Who gets it.
    pub backend_ref: MirrorRef,
    /// 0 to 100.
    #[schemars(range(max = 100))]
    pub percent: Option<u32>,
    /// A share of them.
    pub fraction: Option<Fraction>,
}

/// Who gets copies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorRef {
    /// The Backend's name.
    pub name: String,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fraction {
    /// At most the denominator.
    pub numerator: u32,
    /// 100 where not given.
    #[serde(default = "hundred")]
    pub denominator: std::num::NonZeroU32,
}

fn hundred() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::MIN.saturating_add(99)
}
