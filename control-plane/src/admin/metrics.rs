//! `/metrics`: what this process counts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::reply::{answer, blocking};
use super::{Admin, Context};
use crate::api::problem::Problem;
use crate::fleet::figures::{Builds, Figures};
use crate::fleet::{FleetView, PushView};
use crate::model::Model;
use crate::store;

pub(crate) mod family;
mod process;

use self::family::Families;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything there is to count.
pub(super) async fn metrics(State(context): State<Context>) -> Result<Response, Problem> {
    let admin = context.admin;
    // With thousands of proxies this takes a while.
    let text = blocking(move || Ok(families(&admin).text())).await?;
    Ok(answer(StatusCode::OK, TEXT, text))
}

/// Everything there is to count, in the order in which it is shown.
pub(crate) fn families(admin: &Admin) -> Families {
    let mut families = Families::default();
    families
        .gauge("spillway_build_info", "The version that runs.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], true);
    documents(&mut families, admin);
    certificates(&mut families, &admin.store.latest().model);
    snapshots(&mut families, admin);
    store(&mut families, admin.store.figures());
    pushes(&mut families, admin.fleets.figures());
    latencies(&mut families, admin.fleets.figures());
    families
        .gauge("spillway_streams", "Open streams of discovery services.")
        .sample(&[], admin.clients.count());
    proxies(&mut families, &admin.fleets.view());
    process::families(&mut families);
    families
}

fn documents(families: &mut Families, admin: &Admin) {
    let accepted = admin.store.latest();
    families
        .gauge("spillway_revision", "The newest revision of the documents.")
        .sample(&[], accepted.revision);
    let mut family = families.gauge("spillway_documents", "Documents in force.");
    for kind in crate::document::kind::Kind::ALL {
        let count = accepted.documents.keys().filter(|(of_kind, _)| *of_kind == kind).count();
        family.sample(&[("kind", kind.name())], count);
    }
}

fn store(families: &mut Families, figures: &store::Figures) {
    families
        .histogram("spillway_debounce_seconds", "From a change in the directory until it had been read.")
        .sample(&[], &figures.debounce);
    families
        .histogram("spillway_store_lag_seconds", "From a change in the directory until it was in force.")
        .sample(&[], &figures.lag);
    families
        .counter("spillway_document_refusals_total", "How often a changed directory was not valid.")
        .sample(&[], figures.refusals());
    families
        .gauge("spillway_documents_invalid", "1 while what stands in the directory is not in force.")
        .sample(&[], figures.is_refused());
}

fn certificates(families: &mut Families, model: &Model) {
    let mut family = families.gauge(
        "spillway_certificate_expiry_timestamp_seconds",
        "When a certificate that is in force expires, in seconds since 1970.",
    );
    for (name, certificate) in &model.certificates {
        let pair = certificate.material.as_ref().and_then(|material| material.pair.as_ref());
        if let Some(pair) = pair {
            family.sample(&[("certificate", name)], pair.not_after);
        }
    }
}

fn snapshots(families: &mut Families, admin: &Admin) {
    let Builds { count, total, last } = admin.fleets.figures().builds();
    families.counter("spillway_snapshot_builds_total", "How often snapshots were built.").sample(&[], count);
    families
        .counter("spillway_snapshot_build_seconds_total", "How long building snapshots took in all.")
        .sample(&[], total.as_secs_f64());
    families
        .gauge("spillway_snapshot_build_seconds", "How long building the newest snapshots took.")
        .sample(&[], last.as_secs_f64());
    let snapshots = admin.cache.latest();
    let mut resources = families.gauge("spillway_snapshot_resources", "Resources that a fleet should have.");
    for (fleet, snapshot) in &snapshots {
        for kind in crate::resource::Kind::ALL {
            let count = snapshot.set(kind).iter().count();
            resources.sample(&[("fleet", fleet), ("type", type_name(kind.type_url()))], count);
        }
    }
    let mut bytes =
        families.gauge("spillway_snapshot_bytes", "How large the resources of a fleet are, encoded.");
    for (fleet, snapshot) in &snapshots {
        let sizes = crate::resource::Kind::ALL.into_iter().flat_map(|kind| snapshot.set(kind).iter());
        let size: usize = sizes.map(|resource| resource.any(crate::snapshot::Form::First).len()).sum();
        bytes.sample(&[("fleet", fleet)], size);
    }
}

fn pushes(families: &mut Families, figures: &Figures) {
    let pushes = crate::resource::Kind::ALL.map(|kind| (type_name(kind.type_url()), figures.pushes(kind)));
    let mut sent = families.counter("spillway_pushes_total", "Responses that were sent to proxies.");
    for (of_type, pushes) in &pushes {
        sent.sample(&[("type", of_type)], pushes.sent);
    }
    let mut accepted =
        families.counter("spillway_acceptances_total", "Responses that proxies have accepted.");
    for (of_type, pushes) in &pushes {
        accepted.sample(&[("type", of_type)], pushes.accepted);
    }
    let mut refused = families.counter("spillway_refusals_total", "Responses that proxies have refused.");
    for (of_type, pushes) in &pushes {
        refused.sample(&[("type", of_type)], pushes.refused);
    }
}

fn latencies(families: &mut Families, figures: &Figures) {
    let mut latencies = families
        .histogram("spillway_ack_seconds", "From sending a response until the proxy had accepted it.");
    for kind in crate::resource::Kind::ALL {
        if let Some(times) = figures.latencies(kind) {
            latencies.sample(&[("type", type_name(kind.type_url()))], times);
        }
    }
}

fn proxies(families: &mut Families, fleets: &[FleetView]) {
    let mut connected = families.gauge("spillway_proxies", "Proxies with an open stream.");
    for view in fleets {
        connected.sample(&[("fleet", &view.fleet)], view.proxies.len());
    }
    let mut current = families
        .gauge("spillway_proxies_in_force", "Proxies that have accepted everything of the newest revision.");
    for view in fleets {
        let count = view.proxies.iter().filter(|proxy| proxy.in_force).count();
        current.sample(&[("fleet", &view.fleet)], count);
    }
    let mut refusing =
        families.gauge("spillway_proxies_refusing", "Proxies that refuse something at present.");
    for view in fleets {
        let refuses = view.proxies.iter().filter(|proxy| proxy.types.iter().any(|t| t.refused.is_some()));
        refusing.sample(&[("fleet", &view.fleet)], refuses.count());
    }
    let mut revision = families.gauge("spillway_fleet_revision", "The newest revision meant for a fleet.");
    for view in fleets {
        if let Some(number) = view.revision {
            revision.sample(&[("fleet", &view.fleet)], number);
        }
    }
    let mut stopped = families
        .gauge("spillway_push_stopped", "1 while a refusal by a proxy that tries it first stops a revision.");
    for view in fleets {
        let is_stopped = matches!(view.push, PushView::Stopped { .. });
        stopped.sample(&[("fleet", &view.fleet)], is_stopped);
    }
}

/// The last part of a type URL, such as `Listener`.
fn type_name(type_url: &str) -> &str {
    type_url.rsplit('.').next().unwrap_or(type_url)
}
