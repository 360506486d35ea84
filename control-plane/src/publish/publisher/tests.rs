//! The way from documents to what each proxy is to have, with links in place of proxies.

use std::path::Path;

use super::*;
use crate::document::kind::Kind as DocumentKind;
use crate::fleet::Link;
use crate::fleet::PushView;
use crate::resource::tests::model;
use crate::snapshot::revision::Revisions;
use crate::store::accepted::Stored;
use crate::stream::Node;

struct Scene {
    publisher: Publisher,
    cache: Arc<Cache>,
    fleets: Fleets,
    revision: u64,
    /// The history of documents.
    models: BTreeMap<u64, Arc<Model>>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Revisions::default(), Past::default())
    }

    fn with(revisions: Revisions, past: Past) -> Self {
        let (cache, fleets) = (Arc::new(Cache::default()), Fleets::default());
        let publisher =
            Publisher::new(Builder::new("00", revisions), Arc::clone(&cache), fleets.clone(), past);
        Self { publisher, cache, fleets, revision: 0, models: BTreeMap::new() }
    }

    /// Another process, with the state and the history that this one leaves behind.
    fn restarted(&self, state: &Path) -> Self {
        let model = |revision| self.models.get(&revision).cloned();
        let mut scene = Self::with(Revisions::kept_in(state).unwrap(), Past::kept_in(state, model).unwrap());
        scene.models.clone_from(&self.models);
        scene
    }

    /// Guarded, with these proxies, which have what comes of the first documents.
    fn guarded<const N: usize>(mut self, ids: [&str; N]) -> (Self, [Link; N], Arc<Snapshot>) {
        self.edit(GUARDED, "a", "1/s");
        let first = self.in_use();
        let links = ids.map(|id| self.connect(id));
        for link in &links {
            link.settled(&first, |_| false);
        }
        (self, links, first)
    }

    /// An edit that this proxy tries, and what that makes.
    fn tried(&mut self, backend: &str, rate: &str, link: &mut Link) -> Arc<Snapshot> {
        self.edit(GUARDED, backend, rate);
        self.look(0);
        self.target(link)
    }

    /// New documents: where all requests go, and the rate that the filter admits.
    fn edit(&mut self, push: &str, backend: &str, rate: &str) {
        self.revision += 1;
        let gateway = format!("{{fleet: edge, {push} listeners: [{{name: web, port: 80, protocol: HTTP}}]}}");
        let route = format!(
            "{{parentRefs: [{{name: edge}}], rules: [{{name: all, backendRefs: [{{name: {backend}}}]}}]}}"
        );
        let policy = format!(
            "{{targetRefs: [{{kind: Gateway, name: edge}}], rateLimits: [{{name: all, rate: {rate}}}]}}"
        );
        let documents = [
            ("Gateway", "edge", gateway.as_str()),
            ("Route", "all", &route),
            ("Backend", "a", "{endpoints: []}"),
            ("Backend", "b", "{endpoints: []}"),
            ("TrafficPolicy", "guard", &policy),
        ];
        let model = Arc::new(model(&documents));
        self.models.insert(self.revision, Arc::clone(&model));
        let accepted = Accepted { revision: self.revision, model, ..Accepted::default() };
        self.publisher.edited(&Arc::new(accepted));
    }

    fn connect(&self, id: &str) -> Link {
        self.fleets
            .connected(&Arc::new(Node { id: id.into(), fleet: "edge".into(), ..Node::default() }), None)
    }

    /// What the fleet has.
    fn in_use(&self) -> Arc<Snapshot> {
        self.cache.subscribe("edge").borrow().clone().unwrap()
    }

    /// What this proxy is to have.
    fn target(&self, link: &mut Link) -> Arc<Snapshot> {
        link.trial().unwrap_or_else(|| self.in_use())
    }

    fn push(&self) -> PushView {
        self.fleets.view()[0].push.clone()
    }

    fn look(&mut self, seconds: u64) -> Option<u64> {
        self.publisher.look(Duration::from_secs(seconds)).map(|next| next.as_secs())
    }
}

/// Refuses every resource of one kind.
fn refuse(link: &Link, kind: Kind, snapshot: &Snapshot) {
    let resources = snapshot.set(kind).iter();
    let refused = Refused {
        version: Arc::clone(snapshot.set(kind).version()),
        reason: "no".into(),
        resources: resources.map(|one| (Arc::clone(one.name()), Arc::clone(one.version()))).collect(),
        cause: None,
        retried: false,
    };
    link.refused(kind, refused);
}

const GUARDED: &str = "push: {canaries: 1, timeout: 5s},";

#[test]
fn without_push_everybody_gets_it_at_once() {
    let mut scene = Scene::new();
    scene.edit("", "a", "1/s");
    let first = scene.in_use();
    scene.edit("", "b", "1/s");
    assert!(!Arc::ptr_eq(&first, &scene.in_use()));
    assert_eq!(scene.push(), PushView::Everywhere);
}

#[test]
fn a_snapshot_that_a_canary_accepts_goes_to_all() {
    let (mut scene, [mut one, mut two], first) = Scene::new().guarded(["one", "two"]);
    scene.edit(GUARDED, "b", "1/s");
    assert_eq!(scene.look(0), Some(5));
    let tried = scene.target(&mut one);
    assert!(!Arc::ptr_eq(&tried, &first));
    assert!(Arc::ptr_eq(&scene.target(&mut two), &first));
    assert_eq!(scene.push(), PushView::Trying { in_use: 1, canaries: vec!["one".into()] });
    assert!(!scene.fleets.view()[0].in_force);
    // Whoever connects meanwhile gets what was accepted.
    assert!(Arc::ptr_eq(&scene.target(&mut scene.connect("three")), &first));

    one.settled(&tried, |_| false);
    assert_eq!(scene.look(1), None);
    assert!(Arc::ptr_eq(&scene.in_use(), &tried));
    assert!(Arc::ptr_eq(&scene.target(&mut one), &tried));
    assert!(Arc::ptr_eq(&scene.target(&mut two), &tried));
    assert_eq!(scene.push(), PushView::Everywhere);
    two.settled(&tried, |_| false);
    assert!(scene.fleets.view()[0].in_force);
}

#[test]
fn a_refusal_stops_it_and_a_fixed_edit_starts_anew() {
    let (mut scene, [mut one, mut two], first) = Scene::new().guarded(["one", "two"]);
    let tried = scene.tried("b", "1/s", &mut one);
    refuse(&one, Kind::Route, &tried);
    one.settled(&tried, |_| false);
    assert_eq!(scene.look(1), None);
    assert!(matches!(scene.push(), PushView::Stopped { in_use: 1, by, .. } if by == "one"));
    for link in [&mut one, &mut two, &mut scene.connect("three")] {
        assert!(Arc::ptr_eq(&scene.target(link), &first), "everybody stays on the last accepted one");
    }
    // The same again, from documents that differ elsewhere: nothing is tried.
    scene.edit(GUARDED, "b", "1/s");
    assert_eq!(scene.look(2), None);
    assert!(Arc::ptr_eq(&scene.target(&mut one), &first));
    assert!(matches!(scene.push(), PushView::Stopped { in_use: 1, .. }));

    one.accepted(Kind::Route, first.set(Kind::Route).version(), false);
    one.settled(&first, |_| false);
    scene.edit(GUARDED, "b", "2/s");
    scene.look(3);
    let fixed = scene.target(&mut one);
    assert!(!Arc::ptr_eq(&fixed, &first));
    one.settled(&fixed, |_| false);
    scene.look(4);
    assert!(Arc::ptr_eq(&scene.in_use(), &fixed));
    assert_eq!(scene.push(), PushView::Everywhere);
}

#[test]
fn an_edit_taken_back_needs_no_trial() {
    let (mut scene, [mut one], first) = Scene::new().guarded(["one"]);
    let tried = scene.tried("b", "1/s", &mut one);
    refuse(&one, Kind::Route, &tried);
    scene.look(1);
    scene.edit(GUARDED, "a", "1/s");
    assert_eq!(scene.push(), PushView::Everywhere);
    assert!(Arc::ptr_eq(&scene.target(&mut one), &first));
    assert_eq!(scene.fleets.view()[0].revision, Some(3));
}

#[test]
fn what_was_refused_before_and_has_not_changed_is_not_held_against_an_edit() {
    let (mut scene, [mut one], first) = Scene::new().guarded(["one"]);
    refuse(&one, Kind::Listener, &first);
    let tried = scene.tried("b", "1/s", &mut one);
    one.settled(&tried, |_| false);
    scene.look(1);
    assert!(Arc::ptr_eq(&scene.in_use(), &tried));
}

#[test]
fn a_filter_that_some_have_tried_is_replaced_by_the_old_one_with_a_newer_revision() {
    let (mut scene, [mut one], first) = Scene::new().guarded(["one"]);
    let tried = scene.tried("b", "9/s", &mut one);
    refuse(&one, Kind::Route, &tried);
    scene.look(1);
    let back = scene.target(&mut one);
    let version = |snapshot: &Snapshot, kind: Kind| Arc::clone(snapshot.set(kind).version());
    assert_ne!(version(&back, Kind::ExtensionConfig), version(&first, Kind::ExtensionConfig));
    assert_ne!(version(&back, Kind::ExtensionConfig), version(&tried, Kind::ExtensionConfig));
    assert_eq!(version(&back, Kind::Route), version(&first, Kind::Route));
    assert!(Arc::ptr_eq(&back, &scene.in_use()));
}

/// What of two snapshots the fleet has does not depend on the process that made them, but for filters, which count their changes.
fn has_routes_of(scene: &Scene, snapshot: &Snapshot) -> bool {
    scene.in_use().set(Kind::Route).version() == snapshot.set(Kind::Route).version()
}

#[test]
fn a_restart_in_the_middle_of_a_push_leaves_the_fleet_with_what_was_accepted() {
    for refused in [false, true] {
        let state = tempfile::tempdir().unwrap();
        let (mut scene, [mut one], first) = Scene::new().restarted(state.path()).guarded(["one"]);
        let tried = scene.tried("b", "9/s", &mut one);
        if refused {
            refuse(&one, Kind::Route, &tried);
            scene.look(1);
        }

        let mut again = scene.restarted(state.path());
        again.revision = 1;
        again.edit(GUARDED, "b", "9/s");
        assert!(has_routes_of(&again, &first), "refused: {refused}");
        assert!(matches!(again.push(), PushView::Trying { in_use: 1, .. }), "{:?}", again.push());
        let (mut one, two) = (again.connect("one"), again.connect("two"));
        for link in [&one, &two] {
            link.settled(&again.in_use(), |_| false);
        }
        again.look(2);
        let tried = again.target(&mut one);
        assert!(!has_routes_of(&again, &tried), "it is tried again");
        refuse(&one, Kind::Route, &tried);
        again.look(3);
        assert!(matches!(again.push(), PushView::Stopped { in_use: 1, .. }));
        assert!(has_routes_of(&again, &first));
    }
}

#[test]
fn what_was_accepted_before_a_restart_is_not_tried_again() {
    let state = tempfile::tempdir().unwrap();
    let (mut scene, [mut one], _) = Scene::new().restarted(state.path()).guarded(["one"]);
    let tried = scene.tried("b", "9/s", &mut one);
    one.settled(&tried, |_| false);
    scene.look(1);
    let mut again = scene.restarted(state.path());
    again.revision = 1;
    again.edit(GUARDED, "b", "9/s");
    assert_eq!(again.push(), PushView::Everywhere);
    assert_eq!(*again.in_use(), *tried, "filters too");
}

#[test]
fn the_clusters_that_a_fleet_had_are_known_also_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let mut scene = Scene::new().restarted(state.path());
    scene.edit("", "a", "1/s");
    let before = scene.in_use();
    let version = before.set(Kind::Cluster).version();
    let knows = |scene: &Scene| scene.in_use().clusters_known_as(version).is_some();
    let mut again = scene.restarted(state.path());
    scene.edit("", "b", "1/s");
    assert_ne!(scene.in_use().set(Kind::Cluster).version(), version);
    assert!(knows(&scene));
    // The same edit, made while nobody was there.
    again.revision = 1;
    again.edit("", "b", "1/s");
    assert_eq!(*again.in_use().set(Kind::Cluster), *scene.in_use().set(Kind::Cluster));
    assert!(knows(&again));
}

#[test]
fn the_clusters_before_a_push_are_known_to_who_comes_after_one_that_was_killed_right_after_it() {
    let state = tempfile::tempdir().unwrap();
    let mut scene = Scene::new().restarted(state.path());
    // Edits of something else do not push clusters out.
    let edits = [("a", "1/s"), ("a", "2/s"), ("a", "3/s"), ("b", "3/s"), ("b", "4/s"), ("b", "5/s")];
    let mut versions = Vec::new();
    for (backend, rate) in edits {
        scene.edit("", backend, rate);
        versions.push(Arc::clone(scene.in_use().set(Kind::Cluster).version()));
    }
    let mut again = scene.restarted(state.path());
    again.revision = scene.revision - 1;
    again.edit("", "b", "5/s");
    assert_eq!(*again.in_use(), *scene.in_use(), "filters too");
    assert_eq!(again.push(), PushView::Everywhere);
    for version in &versions {
        assert!(again.in_use().clusters_known_as(version).is_some());
    }
    // And after one more, with documents that are newer than what was in use.
    let mut third = again.restarted(state.path());
    third.revision = scene.revision;
    third.edit(GUARDED, "b", "6/s");
    assert!(matches!(third.push(), PushView::Trying { in_use: 6, .. }), "{:?}", third.push());
    for version in versions {
        assert!(third.in_use().clusters_known_as(&version).is_some());
    }
}

#[test]
fn taking_the_guard_away_ends_the_trial() {
    let (mut scene, [mut one], first) = Scene::new().guarded(["one"]);
    scene.edit(GUARDED, "b", "1/s");
    scene.look(0);
    scene.edit("", "b", "1/s");
    assert_eq!(scene.push(), PushView::Everywhere);
    assert!(!Arc::ptr_eq(&scene.in_use(), &first));
    assert!(Arc::ptr_eq(&scene.target(&mut one), &scene.in_use()));
}

#[test]
fn the_most_careful_gateway_of_a_fleet_counts() {
    let documents = [
        ("Gateway", "a", "{fleet: edge, push: {canaries: 3, timeout: 1s}}"),
        ("Gateway", "b", "{fleet: edge, push: {}}"),
        ("Gateway", "c", "{fleet: other}"),
    ];
    let model = model(&documents);
    assert_eq!(guard_of(&model, "edge"), Some(Guard { canaries: 3, timeout: Duration::from_secs(5) }));
    assert_eq!(guard_of(&model, "other"), None);
}

#[test]
fn documents_of_edits_that_were_taken_together_have_their_own_revisions() {
    let documents = [("a", 4), ("b", 5), ("c", 6)].map(|(name, revision)| {
        ((DocumentKind::Backend, name.to_owned()), Stored { text: "".into(), revision })
    });
    let accepted =
        Accepted { revision: 6, documents: Arc::new(BTreeMap::from(documents)), ..Accepted::default() };
    let found = |since| written(&accepted, since).collect::<Vec<_>>();
    assert_eq!(found(4), [("Backend/b".to_owned(), 5), ("Backend/c".to_owned(), 6)]);
    assert_eq!(found(6), []);
}
