//! What keys are made of, as it is written.

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

/// One way to make a route key. A list needs every part; a single source is a list of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum KeyAlternative {
    /// Every part must be present; they are joined with `:`.
    All(Vec<KeySource>),
    /// One source.
    One(KeySource),
}

// Written by hand, because a derived `untagged` tries one form after the other and forgets where in the text the error was.
impl<'de> Deserialize<'de> for KeyAlternative {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = KeyAlternative;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a source such as {header: x-tenant-id}, or a list of sources")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, parts: A) -> Result<KeyAlternative, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(parts)).map(KeyAlternative::All)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, source: A) -> Result<KeyAlternative, A::Error> {
                KeySource::deserialize(de::value::MapAccessDeserializer::new(source)).map(KeyAlternative::One)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Where a part of a key comes from.
///
/// Written as an object with one field (`{header: x-tenant-id}`), a template with two (`{template: "/orders/{tenant}/**", key: "{tenant}"}`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "KeySourceFields", into = "KeySourceFields")]
pub enum KeySource {
    /// Segments of the path: `/orders/{tenant}/**` gives `{tenant}`; `**` only at the end.
    Template {
        /// The path pattern.
        template: String,
        /// What to make of the captured segments.
        key: String,
    },
    /// A request header, lower-case.
    Header(String),
    /// The client's address cut to so many bits (IPv4: as given, IPv6: as given; whole address where `None`).
    ClientAddress {
        /// Bits kept.
        prefix: Option<u8>,
    },
    /// A constant.
    Value(String),
    /// The request's method.
    Method,
    /// A query parameter, percent-decoded.
    Query(String),
    /// A cookie.
    Cookie(String),
    /// Something of a gRPC call.
    Grpc(GrpcSource),
    /// The server name that the client asked for in its TLS handshake.
    Sni,
}

/// What of a gRPC call. Requests whose content type does not say gRPC have none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum GrpcSource {
    /// `shop.Orders` of `/shop.Orders/Place`.
    Service,
    /// `Place` of `/shop.Orders/Place`.
    Method,
    /// A value of the call's metadata, by its name.
    Metadata(String),
}

// Written by hand, because not every format that documents come in has enums with content.
impl<'de> Deserialize<'de> for GrpcSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Fields {
            metadata: String,
        }
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = GrpcSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("service, method or {metadata: name}")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<GrpcSource, E> {
                match name {
                    "service" => Ok(GrpcSource::Service),
                    "method" => Ok(GrpcSource::Method),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }
            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<GrpcSource, A::Error> {
                let Fields { metadata } = Fields::deserialize(de::value::MapAccessDeserializer::new(fields))?;
                Ok(GrpcSource::Metadata(metadata))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Where a part of a key comes from: exactly one of these, `template` and `key` counting as one.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "KeySource"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySourceFields {
    /// A path pattern such as `/orders/{tenant}/**`; `**` only at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// With `template`: what to make of the captured segments, such as `{tenant}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// A request header's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<ClientAddressFields>,
    /// This text, always.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The request's method.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Only>,
    /// A query parameter's value, percent-decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// A cookie's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
    /// The service, the method or a metadata value of a gRPC request.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<GrpcSource>,
    /// The server name that the client asked for in TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<Only>,
}

/// `true`, the only value of a source that has nothing to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "bool", into = "bool")]
struct Only;

impl TryFrom<bool> for Only {
    type Error = &'static str;
    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("expected true") }
    }
}

impl From<Only> for bool {
    fn from(_: Only) -> Self {
        true
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Only {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "True".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": true })
    }
}

/// The client's address as a key.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ClientAddress"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientAddressFields {
    /// How many leading bits count; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 128)))]
    prefix: Option<u8>,
}

impl TryFrom<KeySourceFields> for KeySource {
    type Error = String;

    fn try_from(fields: KeySourceFields) -> Result<Self, String> {
        let KeySourceFields {
            template,
            key,
            header,
            client_address,
            value,
            method,
            query,
            cookie,
            grpc,
            sni,
        } = fields;
        let template = match (template, key) {
            (None, None) => None,
            (Some(template), Some(key)) => Some(Self::Template { template, key }),
            (Some(_), None) => return Err("a template needs a key such as \"{tenant}\" beside it".into()),
            (None, Some(_)) => return Err("a key without a template".into()),
        };
        let found = [
            template,
            header.map(Self::Header),
            client_address.map(|ClientAddressFields { prefix }| Self::ClientAddress { prefix }),
            value.map(Self::Value),
            method.map(|Only| Self::Method),
            query.map(Self::Query),
            cookie.map(Self::Cookie),
            grpc.map(Self::Grpc),
            sni.map(|Only| Self::Sni),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(source), None) => Ok(source),
            _ => Err(
                "expected exactly one source: template with key, header, method, query, cookie, grpc, sni, \
                clientAddress or value"
                    .into(),
            ),
        }
    }
}

impl From<KeySource> for KeySourceFields {
    fn from(source: KeySource) -> Self {
        let none = Self::default();
        match source {
            KeySource::Template { template, key } => {
                Self { template: Some(template), key: Some(key), ..none }
            }
            KeySource::Header(header) => Self { header: Some(header), ..none },
            KeySource::ClientAddress { prefix } => {
                Self { client_address: Some(ClientAddressFields { prefix }), ..none }
            }
            KeySource::Value(value) => Self { value: Some(value), ..none },
            KeySource::Method => Self { method: Some(Only), ..none },
            KeySource::Query(query) => Self { query: Some(query), ..none },
            KeySource::Cookie(cookie) => Self { cookie: Some(cookie), ..none },
            KeySource::Grpc(grpc) => Self { grpc: Some(grpc), ..none },
            KeySource::Sni => Self { sni: Some(Only), ..none },
        }
    }
}

/// A part of a rule's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum KeyPart {
    /// `routeKey` or `backend`.
    Named(NamedPart),
    /// A source of its own.
    Source(KeySource),
}

impl<'de> Deserialize<'de> for KeyPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = KeyPart;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("routeKey, backend or a source such as {header: x-tenant-id}")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<KeyPart, E> {
                NamedPart::deserialize(de::value::StrDeserializer::new(name)).map(KeyPart::Named)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, source: A) -> Result<KeyPart, A::Error> {
                KeySource::deserialize(de::value::MapAccessDeserializer::new(source)).map(KeyPart::Source)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A part of a key that is written as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum NamedPart {
    /// The policy's route key.
    RouteKey,
    /// The Backend (not an endpoint) that the route chose.
    Backend,
}
