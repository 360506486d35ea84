//! The task that makes snapshots of models and publishes them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tracing::{error, info};

use crate::cache::Cache;
use crate::model::Model;
use crate::snapshot::build::Builder;

/// Publishes a snapshot for every fleet now and whenever there is a newer model, until there can be none.
pub async fn run(mut models: watch::Receiver<Arc<Model>>, mut builder: Builder, cache: Arc<Cache>) {
    loop {
        let model = Arc::clone(&models.borrow_and_update());
        let cache = Arc::clone(&cache);
        // Encoding a large model takes milliseconds of computing that streams should not wait for.
        let built = tokio::task::spawn_blocking(move || {
            publish(&model, &mut builder, &cache);
            builder
        });
        match built.await {
            Ok(returned) => builder = returned,
            Err(error) => {
                error!(%error, "snapshots can't be built any more");
                return;
            }
        }
        if models.changed().await.is_err() {
            return;
        }
    }
}

fn publish(model: &Model, builder: &mut Builder, cache: &Cache) {
    let snapshots = builder.build(model, wall_clock()).clone();
    // Kept before it is used: after a restart a revision must not be lower than one that a proxy has seen.
    if let Err(error) = builder.revisions().save() {
        error!(%error, "revisions are not kept: after a restart proxies will be sent their filter configurations again");
    }
    cache.publish(&snapshots);
    info!(fleets = snapshots.len(), "published");
}

/// Milliseconds since 1970.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
