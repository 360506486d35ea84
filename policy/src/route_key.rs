//! Keys: what a bucket, a breaker or an upstream is chosen by. A key is bytes, never assumed to be text.
//!
//! A *route key* is the first of its alternatives that is complete. An alternative is one source, whose bytes are the key as they are, or a list: all must
//! be there, and they are joined with `:`. Within a part of a joined key `:` is written `\:` and `\` is written `\\`, so that different parts never
//! make the same key. A source that gives no bytes at all counts as absent: an empty header is no tenant.
//!
//! A *rule's key* is one part or several, joined the same way; a part that is missing counts as empty.
//!
//! A query parameter is percent-decoded, because whatever is behind the proxy decodes it too; nothing else is. What of a gRPC call is a key exists only where the content type says gRPC.
//!
//! A key of more than 256 bytes is replaced by `sha256:` and the 64 hexadecimal digits of its SHA-256.

mod alternatives;
mod client_address;
pub(crate) mod template;

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use self::alternatives::Alternatives;
use self::template::{Template, without_query};
use crate::asked::{Asked, Thing};
use crate::config::{GrpcSource, KeyAlternative, KeyPart, KeySource, NamedPart};
use crate::engine::{Needs, Request};
use crate::{cookie, grpc, query};

/// Keys longer than this are hashed.
pub(crate) const MAX_KEY: usize = 256;

/// A compiled source.
#[derive(Debug, Clone)]
enum Source {
    Template(Template),
    Asked(Thing),
    ClientAddress {
        prefix: Option<u8>,
    },
    Value(Box<[u8]>),
    Query(Box<[u8]>),
    Cookie(Thing, Box<[u8]>),
    /// Something that only gRPC requests have; the thing is their content type.
    Grpc(Thing, GrpcPart),
}

#[derive(Debug, Clone)]
enum GrpcPart {
    Service,
    Method,
    Metadata(Thing),
}

/// A policy's compiled route key.
#[derive(Debug, Clone)]
pub(crate) struct RouteKey {
    alternatives: Vec<Vec<Source>>,
    /// Which of them to try for a path; `None` where they are few, and trying all is cheaper.
    by_path: Option<Alternatives>,
}

/// So many alternatives with templates are tried one after the other.
const FEW: usize = 4;

/// A rule's compiled key.
#[derive(Debug, Clone)]
pub(crate) struct RuleKey(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    RouteKey,
    Source(Source),
}

impl Source {
    /// `None` where the template is wrong, which the configuration's check reports.
    fn compile(source: &KeySource, needs: &mut Needs) -> Option<Self> {
        Some(match source {
            KeySource::Template { template, key } => {
                needs.thing(Thing::Path);
                Self::Template(Template::parse(template, key).ok()?)
            }
            KeySource::Header(name) => Self::Asked(needs.header(&name.to_ascii_lowercase())),
            KeySource::ClientAddress { prefix } => {
                needs.thing(Thing::ClientAddress);
                Self::ClientAddress { prefix: *prefix }
            }
            KeySource::Value(value) => Self::Value(value.as_bytes().into()),
            KeySource::Method => Self::Asked(needs.header(":method")),
            KeySource::Sni => Self::Asked(needs.thing(Thing::Sni)),
            KeySource::Query(name) => {
                needs.thing(Thing::Path);
                Self::Query(name.as_bytes().into())
            }
            KeySource::Cookie(name) => Self::Cookie(needs.header("cookie"), name.as_bytes().into()),
            KeySource::Grpc(part) => {
                let content_type = needs.header("content-type");
                let part = match part {
                    GrpcSource::Service => GrpcPart::Service,
                    GrpcSource::Method => GrpcPart::Method,
                    GrpcSource::Metadata(name) => {
                        GrpcPart::Metadata(needs.header(&name.to_ascii_lowercase()))
                    }
                };
                if !matches!(part, GrpcPart::Metadata(_)) {
                    needs.thing(Thing::Path);
                }
                Self::Grpc(content_type, part)
            }
        })
    }

    const fn template(&self) -> Option<&Template> {
        if let Self::Template(template) = self { Some(template) } else { None }
    }

    /// Appends the source's bytes; `false`, with nothing appended, if there are none.
    fn append<R>(&self, request: &R, needs: &Needs, asked: &mut Asked, key: &mut Vec<u8>) -> bool
    where
        R: Request + ?Sized,
    {
        let start = key.len();
        match self {
            Self::Template(template) => {
                if let Some(path) = asked.get(Thing::Path, needs, request) {
                    template.append(path, key);
                }
            }
            Self::Asked(thing) => {
                key.extend_from_slice(asked.get(*thing, needs, request).unwrap_or_default());
            }
            Self::ClientAddress { prefix } => {
                if let Some(address) = asked.get(Thing::ClientAddress, needs, request) {
                    client_address::append(address, *prefix, key);
                }
            }
            Self::Value(value) => key.extend_from_slice(value),
            Self::Query(name) => {
                let target = asked.get(Thing::Path, needs, request).unwrap_or_default();
                key.extend(query::value(target, name).into_iter().flatten());
            }
            Self::Cookie(header, name) => {
                let header = asked.get(*header, needs, request).unwrap_or_default();
                key.extend_from_slice(cookie::value(header, name).unwrap_or_default());
            }
            Self::Grpc(content_type, part) => {
                if asked.get(*content_type, needs, request).is_some_and(grpc::is_content_type) {
                    part.append(request, needs, asked, key);
                }
            }
        }
        key.len() > start
    }
}

impl GrpcPart {
    fn append<R>(&self, request: &R, needs: &Needs, asked: &mut Asked, key: &mut Vec<u8>)
    where
        R: Request + ?Sized,
    {
        let thing = match self {
            Self::Metadata(header) => *header,
            Self::Service | Self::Method => Thing::Path,
        };
        let value = asked.get(thing, needs, request).unwrap_or_default();
        let part = match self {
            Self::Metadata(_) => Some(value),
            Self::Service => grpc::call(value).map(|(service, _)| service),
            Self::Method => grpc::call(value).map(|(_, method)| method),
        };
        key.extend_from_slice(part.unwrap_or_default());
    }
}

impl RouteKey {
    pub(crate) fn compile(alternatives: &[KeyAlternative], needs: &mut Needs) -> Self {
        let mut compile = |sources: &[KeySource]| {
            sources.iter().map(|source| Source::compile(source, needs)).collect::<Option<Vec<_>>>()
        };
        let alternatives: Vec<Vec<Source>> = alternatives
            .iter()
            .filter_map(|alternative| match alternative {
                KeyAlternative::All(sources) => compile(sources),
                KeyAlternative::One(source) => compile(std::slice::from_ref(source)),
            })
            .collect();
        let template = |sources: &Vec<Source>| sources.iter().find_map(Source::template).cloned();
        let templates: Vec<Option<Template>> = alternatives.iter().map(template).collect();
        let many = templates.iter().flatten().count() > FEW;
        let by_path = many.then(|| Alternatives::new(templates.iter().map(Option::as_ref)));
        Self { alternatives, by_path }
    }

    /// Replaces `key` by the request's; `false`, with `key` empty, if no alternative is complete.
    pub(crate) fn extract<R>(&self, request: &R, needs: &Needs, asked: &mut Asked, key: &mut Vec<u8>) -> bool
    where
        R: Request + ?Sized,
    {
        let mut next = 0;
        loop {
            if let Some(by_path) = &self.by_path {
                let path = asked.get(Thing::Path, needs, request).map(without_query);
                next = by_path.next(path, next).unwrap_or(u32::MAX);
            }
            let Some(alternative) = self.alternatives.get(next as usize) else { break };
            next += 1;
            key.clear();
            let joined = alternative.len() > 1;
            let complete = alternative.iter().enumerate().all(|(index, source)| {
                let part = begin_part(index, key);
                let present = source.append(request, needs, asked, key);
                end_part(joined, part, key);
                present
            });
            if complete && !key.is_empty() {
                bound(key);
                return true;
            }
        }
        key.clear();
        false
    }
}

impl RuleKey {
    pub(crate) fn compile(parts: &[KeyPart], needs: &mut Needs) -> Self {
        let parts = parts.iter().filter_map(|part| match part {
            KeyPart::Named(NamedPart::RouteKey) => Some(Part::RouteKey),
            KeyPart::Named(NamedPart::Backend) => {
                Some(Part::Source(Source::Asked(needs.thing(Thing::Backend))))
            }
            KeyPart::Source(source) => Source::compile(source, needs).map(Part::Source),
        });
        Self(parts.collect())
    }

    /// Whether there is one state for all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces `key` by the request's.
    pub(crate) fn build<R>(
        &self,
        request: &R,
        route_key: &[u8],
        needs: &Needs,
        asked: &mut Asked,
        key: &mut Vec<u8>,
    ) where
        R: Request + ?Sized,
    {
        key.clear();
        let joined = self.0.len() > 1;
        for (index, part) in self.0.iter().enumerate() {
            let start = begin_part(index, key);
            match part {
                Part::RouteKey => key.extend_from_slice(route_key),
                Part::Source(source) => {
                    source.append(request, needs, asked, key);
                }
            }
            end_part(joined, start, key);
        }
        bound(key);
    }
}

/// Where the part with this number begins, after its separator.
fn begin_part(index: usize, key: &mut Vec<u8>) -> usize {
    if index > 0 {
        key.push(b':');
    }
    key.len()
}

/// Escapes the part that has just been appended.
fn end_part(joined: bool, start: usize, key: &mut Vec<u8>) {
    let needs_escape = |byte: &u8| matches!(byte, b':' | b'\\');
    let extra = key.iter().skip(start).filter(|byte| needs_escape(byte)).count();
    if !joined || extra == 0 {
        return;
    }
    let part: Vec<u8> = key.drain(start..).collect();
    for byte in part {
        if needs_escape(&byte) {
            key.push(b'\\');
        }
        key.push(byte);
    }
}

/// Hashes a key that is too long.
fn bound(key: &mut Vec<u8>) {
    if key.len() <= MAX_KEY {
        return;
    }
    let mut text = String::with_capacity(7 + 64);
    text.push_str("sha256:");
    for byte in Sha256::digest(&key) {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    key.clear();
    key.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
