//! A listener's access log: a JSON line for each request, on Envoy's standard output, where container platforms collect it.
//!
//! Envoy writes the values itself and escapes them, so no header or path can break out of its line. What has no value is `null`.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::accesslog::v3::{AccessLog, access_log};
use envoy_types::pb::google::protobuf::Any;
use prost::Message;

/// The names of the fields and what Envoy puts there (its page "Access logging" has the operators).
const FIELDS: [(&str, &str); 17] = [
    ("backend", "%UPSTREAM_CLUSTER%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    // Kind, policy and rule that rejected the request, or would have if they were not in shadow mode.
    ("decision", "%FILTER_STATE(wasm.spillway_decision:PLAIN)%"),
    // Milliseconds from the first byte of the request to the last of the answer.
    ("duration", "%DURATION%"),
    ("host", "%REQ(:AUTHORITY)%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route", "%ROUTE_NAME%"),
    ("route_key", "%FILTER_STATE(wasm.spillway_key:PLAIN)%"),
    ("start_time", "%START_TIME%"),
    ("status", "%RESPONSE_CODE%"),
    ("upstream", "%UPSTREAM_HOST%"),
];

/// Where the trace's id is taken from: Envoy's own span, or else what came with the request.
const TRACE: [(&str, &str); 2] = [("trace_id", "%TRACE_ID%"), ("traceparent", "%REQ(TRACEPARENT)%")];

/// The access log.
pub fn access_log() -> AccessLog {
    let field =
        |(name, format): &(&str, &str)| ((*name).to_owned(), Value { string_value: (*format).to_owned() });
    let fields = FIELDS.iter().chain(&TRACE).map(field).collect();
    let format = Format { json_format: Some(Fields { fields }) };
    AccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        config_type: Some(access_log::ConfigType::TypedConfig(Any {
            type_url: STDOUT.to_owned(),
            value: Stdout { log_format: Some(format) }.encode_to_vec(),
        })),
        ..AccessLog::default()
    }
}

const STDOUT: &str = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";

// The generated messages keep the fields in a map whose order differs from process to process, and a listener's version is a hash of its bytes. So these are
// declared here, with the same numbers.

/// `envoy.extensions.access_loggers.stream.v3.StdoutAccessLog`
#[derive(Clone, PartialEq, Message)]
struct Stdout {
    #[prost(message, optional, tag = "1")]
    log_format: Option<Format>,
}

/// `envoy.config.core.v3.SubstitutionFormatString`
#[derive(Clone, PartialEq, Message)]
struct Format {
    #[prost(message, optional, tag = "2")]
    json_format: Option<Fields>,
}

/// `google.protobuf.Struct`
#[derive(Clone, PartialEq, Message)]
struct Fields {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`, of which there are only strings here.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "3")]
    string_value: String,
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format as Specifier;
    use envoy_types::pb::envoy::extensions::access_loggers::stream::v3::{
        StdoutAccessLog, stdout_access_log::AccessLogFormat,
    };
    use envoy_types::pb::google::protobuf::value::Kind;
    use prost::Name;

    use super::*;

    #[test]
    fn it_is_what_envoy_reads_and_the_same_bytes_every_time() {
        let Some(access_log::ConfigType::TypedConfig(config)) = access_log().config_type else { panic!() };
        assert_eq!(config.type_url, StdoutAccessLog::type_url());
        let theirs = StdoutAccessLog::decode(config.value.as_slice()).unwrap();
        let Some(AccessLogFormat::LogFormat(format)) = theirs.access_log_format else { panic!() };
        let Some(Specifier::JsonFormat(fields)) = format.format else { panic!() };
        assert_eq!(fields.fields.len(), FIELDS.len() + TRACE.len(), "no name occurs twice");
        let decision = fields.fields["decision"].kind.clone();
        let expected = "%FILTER_STATE(wasm.spillway_decision:PLAIN)%".to_owned();
        assert_eq!(decision, Some(Kind::StringValue(expected)));
        assert_eq!(access_log(), access_log());
    }
}
