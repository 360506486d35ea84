//! TLS on both sides of a proxy: what a listener shows and demands, and what a cluster does.
//!
//! Certificates and keys are no part of it: it names secrets ([`super::secret`]) that come on the same stream.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{ConfigSource, TransportSocket, transport_socket};
use envoy_types::pb::envoy::config::listener::v3::{ListenerFilter, listener_filter};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    ForwardClientCertDetails, SetCurrentClientCertDetails,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
    SubjectAltNameMatcher, TlsParameters, UpstreamTlsContext,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    subject_alt_name_matcher::SanType,
    tls_parameters::TlsProtocol,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use prost::{Message, Name};

use super::secret::{authorities_name, pair_name};
use super::{any, boolean, duration, over_ads};
use crate::document::kind::{BackendProtocol, BackendTls, Listener, ListenerTls, Protocol};

/// A listener or cluster whose secrets have not come after this goes on without: connections that need them fail, and nothing waits for
/// them. Without a bound, one secret that is not served would keep every listener of a starting proxy closed.
const SECRET_TIMEOUT: Duration = Duration::from_secs(5);

/// What stands before the filters of a listener that speaks TLS.
///
/// One context has all certificates: Envoy chooses among them by the name that a client asks for, and a certificate that is made out to
/// other names takes effect without a new listener.
pub fn downstream(listener: &Listener) -> Option<TransportSocket> {
    let ListenerTls { certificate_refs, client_ca } = listener.tls.as_ref()?;
    let alpn: &[&str] = match listener.protocol {
        Protocol::Https => &["h2", "http/1.1"],
        _ => &[],
    };
    Some(socket(&DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(versions()),
            tls_certificate_sds_secret_configs: certificate_refs
                .iter()
                .map(|name| secret(pair_name(name)))
                .collect(),
            validation_context_type: client_ca.as_ref().map(|name| {
                ValidationContextType::ValidationContextSdsSecretConfig(secret(authorities_name(name)))
            }),
            alpn_protocols: owned(alpn),
            ..CommonTlsContext::default()
        }),
        require_client_certificate: client_ca.as_ref().map(|_| boolean(true)),
        ..DownstreamTlsContext::default()
    }))
}

/// Notes the name that a client asks for, which is otherwise known to the handshake only: the filter reads it for route keys.
pub fn inspector(listener: &Listener) -> Option<ListenerFilter> {
    listener.tls.as_ref().map(|_| ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(any(&TlsInspector::default()))),
        ..ListenerFilter::default()
    })
}

/// What the upstream is told about a client's certificate: what was verified here, never what the client says.
pub fn client_certificate(
    listener: &Listener,
) -> (ForwardClientCertDetails, Option<SetCurrentClientCertDetails>) {
    let asks = listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let details = asks.then(|| SetCurrentClientCertDetails {
        subject: Some(boolean(true)),
        uri: true,
        dns: true,
        ..SetCurrentClientCertDetails::default()
    });
    let forwarded =
        if asks { ForwardClientCertDetails::SanitizeSet } else { ForwardClientCertDetails::Sanitize };
    (forwarded, details)
}

/// How a Backend's endpoints are spoken to.
pub fn upstream(tls: &BackendTls, protocol: BackendProtocol) -> TransportSocket {
    let BackendTls { ca_ref, certificate_ref, sni, subject_alt_names } = tls;
    let alpn: &[&str] = match protocol {
        BackendProtocol::Http1 => &["http/1.1"],
        BackendProtocol::Http2 | BackendProtocol::Grpc => &["h2"],
        BackendProtocol::Tcp => &[],
    };
    // The endpoint has to be who it was asked for, if nothing says otherwise.
    let names = if subject_alt_names.is_empty() { sni.as_slice() } else { subject_alt_names };
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: names.iter().map(|name| has_name(name)).collect(),
            ..CertificateValidationContext::default()
        }),
        validation_context_sds_secret_config: Some(secret(authorities_name(ca_ref))),
        ..CombinedCertificateValidationContext::default()
    };
    socket(&UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(versions()),
            tls_certificate_sds_secret_configs: certificate_ref
                .iter()
                .map(|name| secret(pair_name(name)))
                .collect(),
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
            alpn_protocols: owned(alpn),
            ..CommonTlsContext::default()
        }),
        sni: sni.clone().unwrap_or_default(),
        ..UpstreamTlsContext::default()
    })
}

fn versions() -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..TlsParameters::default()
    }
}

fn secret(name: String) -> SdsSecretConfig {
    let source = ConfigSource { initial_fetch_timeout: Some(duration(SECRET_TIMEOUT)), ..over_ads() };
    SdsSecretConfig { name, sds_config: Some(source) }
}

fn has_name(name: &str) -> SubjectAltNameMatcher {
    let kind = if name.contains("://") {
        SanType::Uri
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        SanType::IpAddress
    } else {
        SanType::Dns
    };
    SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(name.to_owned())),
            ..StringMatcher::default()
        }),
        ..SubjectAltNameMatcher::default()
    }
}

fn socket<M: Message + Name>(context: &M) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(context))),
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
