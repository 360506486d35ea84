use super::*;

pub(super) fn node(id: &str) -> Arc<Node> {
    Arc::new(Node { id: id.into(), fleet: "edge".into(), ..Node::default() })
}

fn publish(fleets: &Fleets, revision: u64, snapshot: &Arc<Snapshot>) {
    let published = Published { revision, snapshot: Arc::clone(snapshot), push: Push::Everywhere };
    fleets.publish(&BTreeMap::from([("edge".to_owned(), published)]));
}

pub(super) fn refused(version: &str) -> Refused {
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
    a.sent(Kind::Cluster, &"1".into(), &Trace::default());
    a.accepted(Kind::Cluster, &"1".into(), false);
    a.settled(&snapshot, |_| false);
    let [fleet] = &fleets.view()[..] else { panic!() };
    assert_eq!((fleet.revision, fleet.in_force), (Some(7), false));
    assert_eq!(fleet.proxies.iter().map(|proxy| proxy.in_force).collect::<Vec<_>>(), [true, false]);

    b.refused(Kind::Cluster, refused("1"));
    b.settled(&snapshot, |_| false);
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
    link.sent(Kind::Listener, &"2".into(), &Trace::default());
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
    link.sent(Kind::Route, &"1".into(), &Trace::default());
    assert!(changes.has_changed().unwrap());
    changes.borrow_and_update();
    link.sent(Kind::Route, &"1".into(), &Trace::default());
    assert!(!changes.has_changed().unwrap());
    drop(link);
    assert!(changes.has_changed().unwrap());
}

/// The kinds in the only proxy's rows, each with the version it accepted.
fn rows(fleets: &Fleets) -> Vec<(String, Option<String>)> {
    let [fleet] = &fleets.view()[..] else { panic!() };
    let [proxy] = &fleet.proxies[..] else { panic!("{:?}", fleet.proxies) };
    proxy.types.iter().map(|one| (one.type_url.clone(), one.accepted.clone())).collect()
}

fn row(kind: Kind, accepted: &str) -> (String, Option<String>) {
    (kind.type_url().to_owned(), Some(accepted.to_owned()))
}

#[test]
fn a_proxy_with_separate_services_is_one_proxy_and_stays_so_when_a_stream_ends() {
    let (fleets, snapshot) = (Fleets::default(), Arc::<Snapshot>::default());
    publish(&fleets, 1, &snapshot);
    let stream = |kind: Kind, version: &str| {
        let link = fleets.connected(&node("a"), None);
        link.subscribed(kind);
        link.accepted(kind, &version.into(), false);
        link
    };
    let (listeners, clusters) = (stream(Kind::Listener, "l"), stream(Kind::Cluster, "c"));
    let routes = stream(Kind::Route, "r");
    assert_eq!(rows(&fleets), [row(Kind::Cluster, "c"), row(Kind::Listener, "l"), row(Kind::Route, "r")]);

    listeners.settled(&snapshot, |_| false);
    clusters.settled(&snapshot, |_| false);
    assert!(!fleets.view()[0].in_force, "the stream of routes has yet to answer");
    routes.settled(&snapshot, |_| false);
    assert!(fleets.view()[0].in_force);

    drop(clusters);
    assert_eq!(rows(&fleets), [row(Kind::Listener, "l"), row(Kind::Route, "r")]);
    assert!(fleets.view()[0].in_force);
    let again = stream(Kind::Cluster, "c2");
    assert_eq!(rows(&fleets), [row(Kind::Cluster, "c2"), row(Kind::Listener, "l"), row(Kind::Route, "r")]);
    assert!(!fleets.view()[0].in_force);
    drop((listeners, routes, again));
    assert!(fleets.view()[0].proxies.is_empty());
}

#[test]
fn a_stream_that_its_proxy_has_given_up_holds_up_nothing() {
    let (fleets, snapshot) = (Fleets::default(), Arc::<Snapshot>::default());
    publish(&fleets, 1, &snapshot);
    // Nobody has noticed yet that this one is dead.
    let dead = fleets.connected(&node("a"), None);
    dead.subscribed(Kind::Listener);
    let alive = fleets.connected(&node("a"), None);
    assert!(!fleets.view()[0].in_force);
    alive.subscribed(Kind::Listener);
    alive.settled(&snapshot, |_| false);
    assert!(fleets.view()[0].in_force);
    let answers = fleets.answers("edge", &snapshot, &snapshot);
    assert!(matches!(answers[..], [(_, Answer::Accepted)]), "{answers:?}");
}

#[test]
fn what_was_refused_on_an_earlier_stream_is_still_refused() {
    let (fleets, snapshot) = (Fleets::default(), Arc::<Snapshot>::default());
    publish(&fleets, 1, &snapshot);
    let link = fleets.connected(&node("a"), None);
    link.refused(Kind::Route, refused("2"));
    drop(link);
    assert_eq!(fleets.refused_by(&node("a"))[&Kind::Route], refused("2"));

    let refusal = |fleets: &Fleets| fleets.view()[0].proxies[0].types[0].refused.clone();
    let link = fleets.connected(&node("a"), None);
    link.subscribed(Kind::Route);
    assert_eq!(refusal(&fleets).map(|refused| refused.version).as_deref(), Some("2"));
    link.settled(&snapshot, |kind| kind == Kind::Route);
    assert!(refusal(&fleets).is_some(), "it is part of the snapshot");
    // Another snapshot has what the proxy holds already: nothing is sent, so nothing is accepted.
    link.settled(&Arc::default(), |_| false);
    assert_eq!(refusal(&fleets), None);

    link.refused(Kind::Route, refused("3"));
    link.settled(&Arc::default(), |_| false);
    assert!(refusal(&fleets).is_some(), "only an acceptance ends what was refused on this stream");
    link.accepted(Kind::Route, &"4".into(), false);
    assert!(fleets.refused_by(&node("a")).is_empty());
}

#[test]
fn the_time_of_an_acceptance_is_counted_once_for_each_response() {
    let fleets = Fleets::default();
    let link = fleets.connected(&node("a"), None);
    let count = |kind| fleets.figures().latencies(kind).unwrap().read().count;
    for version in ["1", "2", "3"] {
        link.sent(Kind::Route, &version.into(), &Trace::default());
    }
    // Who asks for the state of the world may answer the newest alone.
    link.accepted(Kind::Route, &"2".into(), false);
    assert_eq!((count(Kind::Route), count(Kind::Cluster)), (1, 0));
    link.accepted(Kind::Route, &"1".into(), false);
    assert_eq!(count(Kind::Route), 1, "it was before the other");
    link.refused(Kind::Route, refused("3"));
    link.accepted(Kind::Route, &"3".into(), false);
    assert_eq!(count(Kind::Route), 1, "a refusal is no acceptance, and the last word about a response");
}
