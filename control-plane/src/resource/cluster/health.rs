//! Active and passive checks of a cluster's endpoints.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::OutlierDetection;
use envoy_types::pb::envoy::config::core::v3::{
    HealthCheck,
    health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck},
};
use envoy_types::pb::envoy::r#type::v3::CodecClientType;

use crate::document::kind::{self, BackendProtocol};
use crate::resource::{boolean, duration, uint32};

/// How often Envoy looks whether an ejection is over: a tenth of Envoy's default, so that ejections last as long as they say.
const SWEEP: Duration = Duration::from_secs(1);

/// Envoy's own, named because a longer `ejectFor` raises it.
const LONGEST_EJECTION: Duration = Duration::from_secs(300);

pub(super) fn active(check: &kind::HealthCheck, protocol: BackendProtocol) -> HealthCheck {
    let kind::HealthCheck { http, grpc, tcp: _, interval, timeout, unhealthy_after, healthy_after } = check;
    let checker = match (http, grpc) {
        (Some(http), _) => HealthChecker::HttpHealthCheck(HttpHealthCheck {
            path: http.path.clone(),
            codec_client_type: match protocol {
                BackendProtocol::Http2 | BackendProtocol::Grpc => CodecClientType::Http2.into(),
                BackendProtocol::Http1 | BackendProtocol::Tcp => CodecClientType::Http1.into(),
            },
            ..HttpHealthCheck::default()
        }),
        (None, Some(grpc)) => HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
            service_name: grpc.service.clone().unwrap_or_default(),
            ..GrpcHealthCheck::default()
        }),
        // A connection that is accepted is all that is asked for.
        (None, None) => HealthChecker::TcpHealthCheck(TcpHealthCheck::default()),
    };
    let interval = Some(duration(interval.get()));
    HealthCheck {
        timeout: Some(duration(timeout.get())),
        interval,
        // By default an endpoint is asked once a minute until the cluster has had its first request, and that may be the one that fails.
        no_traffic_interval: interval,
        unhealthy_threshold: Some(uint32(unhealthy_after.get())),
        healthy_threshold: Some(uint32(healthy_after.get())),
        health_checker: Some(checker),
        ..HealthCheck::default()
    }
}

pub(super) fn passive(detection: &kind::OutlierDetection) -> OutlierDetection {
    let kind::OutlierDetection { consecutive_errors, eject_for, max_ejected } = detection;
    OutlierDetection {
        consecutive_5xx: Some(uint32(consecutive_errors.get())),
        enforcing_consecutive_5xx: Some(uint32(100)),
        // Envoy also ejects whoever answers worse than the others, which nobody has asked for.
        enforcing_success_rate: Some(uint32(0)),
        enforcing_consecutive_gateway_failure: Some(uint32(0)),
        interval: Some(duration(SWEEP)),
        base_ejection_time: Some(duration(eject_for.get())),
        max_ejection_time: Some(duration(eject_for.get().max(LONGEST_EJECTION))),
        max_ejection_percent: Some(uint32(u32::from(max_ejected.basis_points()).div_ceil(100))),
        // Otherwise a share that is less than one endpoint is none, and of two endpoints with 40% none would ever be left out.
        always_eject_one_host: Some(boolean(true)),
        // An endpoint that answers its checks and fails its requests would come back with every check.
        successful_active_health_check_uneject_host: Some(boolean(false)),
        ..OutlierDetection::default()
    }
}
