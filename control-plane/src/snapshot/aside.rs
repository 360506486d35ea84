//! What stands beside a snapshot and is no part of what it is.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// Something that newer can replace while the snapshot is in use. Whatever stands here, snapshots are as equal as they are without it.
#[derive(Debug, Default)]
pub(super) struct Aside<T>(ArcSwap<T>);

impl<T> Aside<T> {
    pub(super) fn set(&self, newest: &Arc<T>) {
        self.0.store(Arc::clone(newest));
    }

    pub(super) fn get(&self) -> Arc<T> {
        self.0.load_full()
    }
}

impl<T> PartialEq for Aside<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Aside<T> {}

impl<T> Clone for Aside<T> {
    fn clone(&self) -> Self {
        Self(ArcSwap::new(self.get()))
    }
}
