use super::*;

fn node(id: &str) -> Node {
    Node { id: id.into(), fleet: "edge".into(), ..Node::default() }
}

fn publish(fleets: &Fleets, revision: u64, snapshot: &Arc<Snapshot>) {
    let published = Published { revision, snapshot: Arc::clone(snapshot), push: Push::Everywhere };
    fleets.publish(&BTreeMap::from([("edge".to_owned(), published)]));
}

fn refused(version: &str) -> Refused {
    Refused {
        version: version.into(),
        reason: "no".into(),
        resources: Arc::from([]),
        cause: None,
        retried: false,
    }
}

#[test]
fn a_revision_is_in_force_once_every_proxy_has_accepted_all_of_it() {
    let (fleets, snapshot) = (Fleets::default(), Arc::<Snapshot>::default());
    publish(&fleets, 7, &snapshot);
    assert!(fleets.view()[0].in_force, "nobody lacks it");
    let (a, b) = (fleets.connected(&node("a"), None), fleets.connected(&node("b"), None));
    a.sent(Kind::Cluster, &"1".into());
    a.accepted(Kind::Cluster, &"1".into(), false);
    a.settled(&snapshot);
    let [fleet] = &fleets.view()[..] else { panic!() };
    assert_eq!((fleet.revision, fleet.in_force), (Some(7), false));
    assert_eq!(fleet.proxies.iter().map(|proxy| proxy.in_force).collect::<Vec<_>>(), [true, false]);

    b.refused(Kind::Cluster, refused("1"));
    b.settled(&snapshot);
    assert!(!fleets.view()[0].in_force, "a refusal is an answer, and not in force");
    b.accepted(Kind::Cluster, &"2".into(), false);
    assert!(fleets.view()[0].in_force);

    // The same snapshot from newer documents is in force at once, another one is not.
    publish(&fleets, 8, &snapshot);
    assert!(fleets.view()[0].in_force);
    publish(&fleets, 9, &Arc::default());
    assert!(!fleets.view()[0].in_force);
    drop(a);
    drop(b);
    assert!(fleets.view()[0].proxies.is_empty());
}

#[test]
fn a_refusal_stands_until_something_is_accepted() {
    let fleets = Fleets::default();
    let link = fleets.connected(&node("a"), Some(([127, 0, 0, 1], 9).into()));
    link.sent(Kind::Listener, &"2".into());
    link.refused(Kind::Listener, refused("2"));
    link.accepted(Kind::Route, &"1".into(), false);
    let types = |fleets: &Fleets| fleets.view()[0].proxies[0].types.clone();
    let [listeners, routes] = &types(&fleets)[..] else { panic!() };
    assert_eq!(listeners.refused.as_ref().map(|refused| refused.version.as_str()), Some("2"));
    assert_eq!((listeners.sent.as_deref(), listeners.accepted.as_deref()), (Some("2"), None));
    assert_eq!((routes.refused.as_ref(), routes.accepted.as_deref()), (None, Some("1")));
    link.accepted(Kind::Listener, &"3".into(), false);
    assert_eq!(types(&fleets)[0].refused, None);
}

#[test]
fn accepting_something_else_does_not_end_a_refusal() {
    let fleets = Fleets::default();
    let link = fleets.connected(&node("a"), None);
    link.refused(Kind::Cluster, refused("2"));
    link.accepted(Kind::Cluster, &"3".into(), true);
    let types = &fleets.view()[0].proxies[0].types;
    assert_eq!(types[0].accepted.as_deref(), Some("3"));
    assert!(types[0].refused.is_some());
}

#[test]
fn fleets_without_gateway_last_as_long_as_their_proxies() {
    let fleets = Fleets::default();
    let link = fleets.connected(&node("a"), None);
    assert_eq!(fleets.view()[0].revision, None);
    fleets.publish(&BTreeMap::new());
    assert_eq!(fleets.view().len(), 1);
    drop(link);
    assert!(fleets.view().is_empty());
}

#[test]
fn changes_are_told_and_repetitions_are_not() {
    let fleets = Fleets::default();
    let link = fleets.connected(&node("a"), None);
    let mut changes = fleets.subscribe();
    changes.borrow_and_update();
    link.sent(Kind::Route, &"1".into());
    assert!(changes.has_changed().unwrap());
    changes.borrow_and_update();
    link.sent(Kind::Route, &"1".into());
    assert!(!changes.has_changed().unwrap());
    drop(link);
    assert!(changes.has_changed().unwrap());
}
