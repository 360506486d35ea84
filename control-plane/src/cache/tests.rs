use super::*;
use crate::resource::Kind;
use crate::snapshot::{Resource, ResourceSet};

fn snapshot(content: &str) -> Arc<Snapshot> {
    let value = envoy_types::pb::google::protobuf::StringValue { value: content.to_owned() };
    let set = ResourceSet::new([Arc::new(Resource::new("web", &value))]);
    Arc::new(Snapshot::default().with(Kind::Listener, Arc::new(set)))
}

fn snapshots(fleets: &[(&str, &str)]) -> BTreeMap<String, Arc<Snapshot>> {
    fleets.iter().map(|(fleet, content)| ((*fleet).to_owned(), snapshot(content))).collect()
}

#[test]
fn nothing_is_there_until_sources_have_loaded_and_then_even_nothing_is_something() {
    let cache = Cache::default();
    let known = cache.subscribe("edge");
    let unknown = cache.subscribe("other");
    assert_eq!((&*known.borrow(), &*unknown.borrow()), (&None, &None));
    assert!(!cache.is_loaded());
    cache.publish(&snapshots(&[("edge", "1")]));
    assert!(cache.is_loaded());
    assert_eq!(*known.borrow(), Some(snapshot("1")));
    assert_eq!(*unknown.borrow(), Some(Arc::default()));
    assert_eq!(*cache.subscribe("later").borrow(), Some(Arc::default()));
}

#[test]
fn an_edit_wakes_only_the_fleet_that_it_changes() {
    let cache = Cache::default();
    cache.publish(&snapshots(&[("edge", "1"), ("inner", "1")]));
    let mut edge = cache.subscribe("edge");
    let mut inner = cache.subscribe("inner");
    cache.publish(&snapshots(&[("edge", "2"), ("inner", "1")]));
    assert!(edge.has_changed().unwrap());
    assert!(!inner.has_changed().unwrap());
    assert_eq!(*edge.borrow_and_update(), Some(snapshot("2")));
    // A Gateway that is deleted takes what its fleet had with it.
    cache.publish(&snapshots(&[("edge", "2")]));
    assert_eq!(*inner.borrow_and_update(), Some(Arc::default()));
}

#[test]
fn fleets_that_nobody_asks_for_any_more_are_forgotten() {
    let cache = Cache::default();
    cache.publish(&snapshots(&[("edge", "1")]));
    for fleet in 0..100 {
        cache.subscribe(&fleet.to_string());
    }
    let kept = cache.subscribe("kept");
    cache.publish(&snapshots(&[("edge", "1")]));
    assert_eq!(cache.fleets.lock().unwrap().senders.len(), 2);
    cache.publish(&snapshots(&[("edge", "1"), ("kept", "1")]));
    assert_eq!(*kept.borrow(), Some(snapshot("1")));
}
