//! One stream's resources in CSDS's words.

use std::time::{SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use envoy_types::pb::envoy::service::status::v3::ConfigStatus;
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::google::protobuf::{Any, Timestamp};
use prost::Message;

use crate::discovery::clients::Client;
use crate::resource::Kind;
use crate::snapshot::{Form, Name, Version};
use crate::stream::Stream;
use crate::subscription::{Standing, Variant};

/// Everything that the client has, wants, or refuses. With `contents` also the resources themselves as far as they are at hand; never those of
/// secrets.
pub(super) fn resources(client: &Client, contents: bool) -> impl Iterator<Item = GenericXdsConfig> {
    client.stream.standings().map(move |(kind, name, standing)| {
        let content = |version: Option<&Version>| {
            let wanted = contents && kind != Kind::Secret;
            version.filter(|_| wanted).and_then(|version| content(&client.stream, kind, name, version))
        };
        let said = client.proxy.as_ref().and_then(|proxy| proxy.said(kind));
        let (accepted, refused) = said.map(|said| (said.accepted, said.refused)).unwrap_or_default();
        let version_of = |version: Option<&Version>| version_info(client, version, accepted.as_ref());
        let (config_status, client_status) = statuses(standing);
        let updated = accepted.as_ref().filter(|_| standing.accepted.is_some());
        let error_state = standing.refused.then(|| {
            let told = refused.map(|refusal| (refusal.at, refusal.refused.reason));
            let (at, details) = told.unwrap_or((UNIX_EPOCH, String::new()));
            UpdateFailureState {
                failed_configuration: content(standing.sent),
                last_update_attempt: timestamp(at),
                details,
                version_info: version_of(standing.sent),
            }
        });
        GenericXdsConfig {
            type_url: kind.type_url().to_owned(),
            name: name.to_string(),
            version_info: version_of(standing.accepted),
            xds_config: content(standing.accepted),
            last_updated: updated.and_then(|(at, _)| timestamp(*at)),
            config_status: config_status.into(),
            client_status: client_status.into(),
            error_state,
            is_static_resource: false,
        }
    })
}

fn statuses(standing: Standing<'_>) -> (ConfigStatus, ClientResourceStatus) {
    let Standing { told, sent, accepted, refused } = standing;
    match (told, sent) {
        (false, _) => (ConfigStatus::NotSent, ClientResourceStatus::Requested),
        (true, None) => (ConfigStatus::Synced, ClientResourceStatus::DoesNotExist),
        (true, Some(_)) if refused => (ConfigStatus::Error, ClientResourceStatus::Nacked),
        (true, Some(_)) if sent == accepted => (ConfigStatus::Synced, ClientResourceStatus::Acked),
        (true, Some(_)) if accepted.is_some() => (ConfigStatus::Stale, ClientResourceStatus::Acked),
        (true, Some(_)) => (ConfigStatus::Stale, ClientResourceStatus::Requested),
    }
}

/// In the delta variant a resource has a version, in the other a response has.
fn version_info(
    client: &Client,
    version: Option<&Version>,
    accepted: Option<&(SystemTime, Version)>,
) -> String {
    let shown = match client.stream.variant() {
        Variant::Delta => version,
        Variant::StateOfTheWorld => version.and(accepted.map(|(_, version)| version)),
    };
    shown.map(ToString::to_string).unwrap_or_default()
}

/// The resource in that version, if it is still around: this side keeps no others.
fn content(stream: &Stream, kind: Kind, name: &Name, version: &Version) -> Option<Any> {
    let resource = stream.snapshot()?.set(kind).get(name).filter(|resource| resource.version() == version)?;
    Any::decode(resource.any(Form::First)).ok()
}

fn timestamp(at: SystemTime) -> Option<Timestamp> {
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    let nanos = i32::try_from(since.subsec_nanos()).ok()?;
    Some(Timestamp { seconds: i64::try_from(since.as_secs()).ok()?, nanos })
}
