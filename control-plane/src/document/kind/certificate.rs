//! Who somebody is and whom they trust, and how listeners and Backends refer to it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::syntax;

/// A certificate with its key, or the certificates of those who vouch for others, or both. They stand in files beside the documents,
/// never in one, are served to proxies as secrets, and are read again when the files change.
///
/// Paths are relative to the directory of the file in which the document stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// The certificate and, behind it, those between it and its root, in PEM. Needed together with `keyFile`.
    #[serde(default, deserialize_with = "syntax::file")]
    #[schemars(length(min = 1))]
    pub cert_file: Option<String>,
    /// The certificate's key in PEM, not encrypted: RSA of 2048 to 4096 bits, or ECDSA on P-256 or P-384.
    #[serde(default, deserialize_with = "syntax::file")]
    #[schemars(length(min = 1))]
    pub key_file: Option<String>,
    /// The certificates, in PEM, of those whose word is taken for others: for a listener's `clientCa` and a Backend's `caRef`.
    #[serde(default, deserialize_with = "syntax::file")]
    #[schemars(length(min = 1))]
    pub ca_file: Option<String>,
}

/// How a listener speaks TLS: 1.2 and 1.3.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTls {
    /// Names of Certificates. Which one a client is shown follows from the name that it asks for (SNI) and the names in the certificates,
    /// `*.example.com` included; whoever asks for none or another is shown the first.
    pub certificate_refs: Vec<String>,
    /// The name of a Certificate with a `caFile`. Clients then need a certificate that one of its certificates vouches for.
    pub client_ca: Option<String>,
}

/// How a Backend's endpoints are spoken to over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTls {
    /// The name of a Certificate with a `caFile`: only endpoints whose certificate it vouches for are spoken to.
    pub ca_ref: String,
    /// The name of a Certificate with a `certFile` that is shown to endpoints that ask for one.
    pub certificate_ref: Option<String>,
    /// The host name that is asked for, and that the endpoint's certificate has to have if `subjectAltNames` says nothing else. One of
    /// them is needed.
    #[serde(default, deserialize_with = "syntax::server_name")]
    #[schemars(length(min = 1))]
    pub sni: Option<String>,
    /// The endpoint's certificate has to have one of these: host names, URIs such as `spiffe://shop/orders`, or IP addresses.
    #[serde(default, deserialize_with = "syntax::subject_alt_names")]
    pub subject_alt_names: Vec<String>,
}
