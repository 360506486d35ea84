//! Fleets and their proxies.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::Context;
use super::body::Query;
use super::reply::{self, blocking};
use crate::api::FleetProxy;
use crate::api::problem::Problem;
use crate::fleet::FleetView;

/// Which fleet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    fleet: Option<String>,
}

/// Every fleet with its proxies.
pub(super) async fn fleets(
    State(context): State<Context>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    reply::json(&chosen(&context, filter).await?)
}

/// Every proxy with the name of its fleet.
pub(super) async fn proxies(
    State(context): State<Context>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let mut all = Vec::new();
    for FleetView { fleet, proxies, .. } in chosen(&context, filter).await? {
        all.extend(proxies.into_iter().map(|proxy| FleetProxy { fleet: fleet.clone(), proxy }));
    }
    reply::json(&all)
}

async fn chosen(context: &Context, Filter { fleet }: Filter) -> Result<Vec<FleetView>, Problem> {
    let fleets = context.admin.fleets.clone();
    // With thousands of proxies this takes a while.
    let mut views = blocking(move || Ok(fleets.view())).await?;
    views.retain(|view| fleet.as_ref().is_none_or(|fleet| *fleet == view.fleet));
    Ok(views)
}
