//! Certificates as secrets (SDS): what listeners and clusters refer to by name, so that new ones reach running connections' listeners
//! without anything else changing.

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret::Type,
};

use crate::keychain::{Authorities, Pair};
use crate::model::Certificate;

/// The name of the secret that has a Certificate's certificate and key.
pub fn pair_name(certificate: &str) -> String {
    certificate.to_owned()
}

/// The name of the secret that has its authorities. No document's name has a slash.
pub fn authorities_name(certificate: &str) -> String {
    format!("{certificate}/ca")
}

/// The Certificate of which a secret was made, and the field that it came from.
pub fn origin(secret: &str) -> (&str, &'static str) {
    secret.strip_suffix("/ca").map_or((secret, "spec.certFile"), |certificate| (certificate, "spec.caFile"))
}

/// The secrets of one Certificate. Where nothing is known of its files they have only names.
pub fn secrets(name: &str, certificate: &Certificate) -> Vec<Secret> {
    let Certificate { files, material } = certificate;
    let material = material.as_deref();
    let pair = files.pair.is_some().then(|| Secret {
        name: pair_name(name),
        r#type: material.and_then(|material| material.pair.as_ref()).map(tls_certificate),
    });
    let authorities = files.ca.is_some().then(|| Secret {
        name: authorities_name(name),
        r#type: material.and_then(|material| material.authorities.as_ref()).map(validation_context),
    });
    pair.into_iter().chain(authorities).collect()
}

fn tls_certificate(pair: &Pair) -> Type {
    Type::TlsCertificate(TlsCertificate {
        certificate_chain: Some(inline(&pair.chain)),
        private_key: Some(inline(&pair.key)),
        ..TlsCertificate::default()
    })
}

fn validation_context(Authorities(certificates): &Authorities) -> Type {
    Type::ValidationContext(CertificateValidationContext {
        trusted_ca: Some(inline(certificates)),
        ..CertificateValidationContext::default()
    })
}

fn inline(text: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..DataSource::default() }
}
