//! The task that makes snapshots of documents and decides which proxies get them when.
//!
//! A fleet without `push` in any of its Gateways gets a new snapshot at once. One with it has the snapshot tried by a few proxies first
//! ([`guard`]); meanwhile, and after a refusal until the documents are edited, everybody else has the last one that was accepted. That one is
//! kept over a restart ([`Past`]).

mod guard;
mod past;
mod publisher;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::error;

use crate::cache::Cache;
use crate::dns::Located;
use crate::fleet::Fleets;
use crate::snapshot::build::Builder;

pub use self::past::Past;
use self::publisher::Publisher;

/// The least time between two looks at proxies that try something. Thousands of them may answer at once.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Publishes a snapshot for every fleet whenever there are newer documents, or names in them lead elsewhere, until there can be none.
pub async fn run(
    mut newest: watch::Receiver<Option<Located>>,
    builder: Builder,
    cache: Arc<Cache>,
    fleets: Fleets,
    past: Past,
) {
    let start = Instant::now();
    let mut proxies = fleets.subscribe();
    let mut publisher = Publisher::new(builder, cache, fleets, past);
    newest.mark_changed();
    let mut look_at = None;
    loop {
        let mut edited = false;
        let tried = publisher.is_tried();
        tokio::select! {
            changed = newest.changed() => match changed {
                Ok(()) => edited = true,
                Err(_) => return,
            },
            _ = proxies.changed(), if tried => sleep(LOOK_INTERVAL).await,
            () = reached(look_at), if tried => {}
        }
        proxies.mark_unchanged();
        let edited = edited.then(|| newest.borrow_and_update().clone()).flatten();
        let now = start.elapsed();
        // Encoding a large model takes milliseconds of computing that streams should not wait for.
        let done = tokio::task::spawn_blocking(move || {
            if let Some(Located { accepted, addresses }) = edited {
                publisher.located(addresses);
                publisher.edited(&accepted);
            }
            let next = publisher.look(now);
            (publisher, next)
        });
        match done.await {
            Ok((returned, next)) => {
                publisher = returned;
                look_at = next.map(|next| start + next);
            }
            Err(error) => {
                error!(%error, "snapshots can't be built any more");
                return;
            }
        }
    }
}

/// Waits for a time; for ever if there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
