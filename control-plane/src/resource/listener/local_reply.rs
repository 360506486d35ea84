//! Answers that Envoy gives itself, where its own words say too little.

use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter, ResponseFlagFilter, access_log_filter::FilterSpecifier,
};
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, SubstitutionFormatString, data_source::Specifier, substitution_format_string::Format,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    LocalReplyConfig, ResponseMapper,
};

/// Names the Backend none of whose endpoints may be used: there are none, they are unwell, or they drain.
pub(super) fn local_replies() -> LocalReplyConfig {
    let no_endpoint =
        FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags: vec!["UH".to_owned()] });
    let text = "no endpoint of the Backend %UPSTREAM_CLUSTER_RAW% is available\n";
    LocalReplyConfig {
        mappers: vec![ResponseMapper {
            filter: Some(AccessLogFilter { filter_specifier: Some(no_endpoint) }),
            body_format_override: Some(SubstitutionFormatString {
                format: Some(Format::TextFormatSource(DataSource {
                    specifier: Some(Specifier::InlineString(text.to_owned())),
                    ..DataSource::default()
                })),
                ..SubstitutionFormatString::default()
            }),
            ..ResponseMapper::default()
        }],
        body_format: None,
    }
}
