use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;

use super::*;
use crate::keychain::authority::Authority;
use crate::keychain::{Authorities, Files, Material, Pair};
use crate::model::Certificate;
use crate::resource::secret::secrets;
use crate::resource::tests::model;

fn decoded<M: Message + Default>(socket: TransportSocket) -> M {
    let Some(transport_socket::ConfigType::TypedConfig(any)) = socket.config_type else {
        panic!("no config")
    };
    M::decode(&*any.value).unwrap()
}

fn names(secrets: &[SdsSecretConfig]) -> Vec<&str> {
    for secret in secrets {
        let source = secret.sds_config.as_ref().unwrap();
        assert!(matches!(source.config_source_specifier, Some(ConfigSourceSpecifier::Ads(_))));
        assert!(source.initial_fetch_timeout.as_ref().unwrap().seconds > 0, "it would wait for ever");
    }
    secrets.iter().map(|secret| secret.name.as_str()).collect()
}

fn listener(tls: &str) -> Listener {
    let gateway = format!("{{fleet: f, listeners: [{{name: web, port: 443, protocol: HTTPS, tls: {tls}}}]}}");
    let model = model(&[
        ("Gateway", "edge", &gateway),
        ("Certificate", "a", "{certFile: a.crt, keyFile: a.key}"),
        ("Certificate", "b", "{certFile: b.crt, keyFile: b.key, caFile: ca.crt}"),
    ]);
    model.gateways["edge"].listeners[0].clone()
}

#[test]
fn a_listener_has_all_its_certificates_in_order_and_asks_nothing_of_clients() {
    let listener = listener("{certificateRefs: [b, a]}");
    let context: DownstreamTlsContext = decoded(downstream(&listener).unwrap());
    let common = context.common_tls_context.unwrap();
    assert_eq!(names(&common.tls_certificate_sds_secret_configs), ["b", "a"]);
    assert_eq!(common.alpn_protocols, ["h2", "http/1.1"]);
    let versions = common.tls_params.unwrap();
    assert_eq!(versions.tls_minimum_protocol_version(), TlsProtocol::TlSv12);
    assert!(common.validation_context_type.is_none() && context.require_client_certificate.is_none());
    assert_eq!(client_certificate(&listener), (ForwardClientCertDetails::Sanitize, None));
}

#[test]
fn a_client_ca_makes_clients_show_certificates_and_upstreams_know_them() {
    let listener = listener("{certificateRefs: [a], clientCa: b}");
    let context: DownstreamTlsContext = decoded(downstream(&listener).unwrap());
    assert_eq!(context.require_client_certificate, Some(boolean(true)));
    let validation = context.common_tls_context.unwrap().validation_context_type;
    let Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) = validation else {
        panic!("{validation:?}")
    };
    assert_eq!(names(&[secret]), ["b/ca"]);
    let (forward, details) = client_certificate(&listener);
    assert_eq!(forward, ForwardClientCertDetails::SanitizeSet);
    assert!(details.unwrap().uri);
}

fn upstream_of(tls: &str, protocol: BackendProtocol) -> (UpstreamTlsContext, Vec<(SanType, String)>) {
    let backend = format!("{{endpoints: [], tls: {tls}}}");
    let model = model(&[
        ("Backend", "b", &backend),
        ("Certificate", "ca", "{caFile: ca.crt}"),
        ("Certificate", "client", "{certFile: c.crt, keyFile: c.key}"),
    ]);
    let tls = model.backends["b"].tls.clone().unwrap();
    let context: UpstreamTlsContext = decoded(upstream(&tls, protocol));
    let validation = context.common_tls_context.as_ref().unwrap().validation_context_type.clone();
    let Some(ValidationContextType::CombinedValidationContext(validation)) = validation else {
        panic!("{validation:?}")
    };
    assert_eq!(names(&[validation.validation_context_sds_secret_config.unwrap()]), ["ca/ca"]);
    let sans = validation.default_validation_context.unwrap().match_typed_subject_alt_names;
    let sans = sans.into_iter().map(|san| match san.matcher.clone().unwrap().match_pattern {
        Some(MatchPattern::Exact(name)) => (san.san_type(), name),
        other => panic!("{other:?}"),
    });
    (context, sans.collect())
}

#[test]
fn an_endpoint_has_to_be_who_it_is_asked_for() {
    let (context, sans) = upstream_of("{caRef: ca, sni: orders.internal}", BackendProtocol::Http1);
    assert_eq!(context.sni, "orders.internal");
    assert_eq!(sans, [(SanType::Dns, "orders.internal".to_owned())]);
    let common = context.common_tls_context.unwrap();
    assert_eq!(common.alpn_protocols, ["http/1.1"]);
    assert!(common.tls_certificate_sds_secret_configs.is_empty());
}

#[test]
fn given_names_take_the_place_of_the_one_that_is_asked_for() {
    let (context, sans) = upstream_of(
        "{caRef: ca, certificateRef: client, sni: o.example, subjectAltNames: ['spiffe://shop/orders', 10.0.0.1, p.example]}",
        BackendProtocol::Grpc,
    );
    let expected = [
        (SanType::Uri, "spiffe://shop/orders"),
        (SanType::IpAddress, "10.0.0.1"),
        (SanType::Dns, "p.example"),
    ];
    assert_eq!(sans, expected.map(|(kind, name)| (kind, name.to_owned())));
    let common = context.common_tls_context.unwrap();
    assert_eq!(names(&common.tls_certificate_sds_secret_configs), ["client"]);
    assert_eq!(common.alpn_protocols, ["h2"]);
}

#[test]
fn secrets_have_what_the_files_hold_or_only_names() {
    let files = Files { pair: Some(("a.crt".into(), "a.key".into())), ca: Some("ca.crt".into()) };
    let names = |certificate: &Certificate| {
        let secrets = secrets("edge", certificate).into_iter();
        secrets.map(|secret| (secret.name, secret.r#type)).collect::<Vec<_>>()
    };
    let unread = names(&Certificate { files: files.clone(), material: None });
    assert_eq!(unread, [("edge".to_owned(), None), ("edge/ca".to_owned(), None)]);
    let issued = Authority::new().issue("a.example");
    let pair = Pair { chain: issued.certificate, key: issued.key, not_before: 0, not_after: 1 };
    let material = Material { pair: Some(pair), authorities: Some(Authorities("the word".to_owned())) };
    let read = names(&Certificate { files, material: Some(Arc::new(material)) });
    let [(_, Some(Type::TlsCertificate(pair))), (_, Some(Type::ValidationContext(ca)))] = &read[..] else {
        panic!("{read:?}")
    };
    assert!(pair.private_key.is_some() && pair.certificate_chain.is_some() && ca.trusted_ca.is_some());
}
