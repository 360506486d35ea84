use super::*;

fn report(name: &str, issued: u64, endpoints: usize) -> ClusterReport {
    let counts = |issued| Counts { successes: issued, errors: issued / 10, issued, in_progress: 1 };
    let endpoint = |n| EndpointReport {
        address: format!("10.0.0.{n}:80"),
        counts: counts(issued),
        metrics: vec![Metric { name: "cpu_utilization".into(), count: 2, sum: 1.0 }],
    };
    let locality = LocalityReport {
        locality: Locality { zone: "a".into(), ..Locality::default() },
        counts: counts(issued * endpoints as u64),
        metrics: Vec::new(),
        endpoints: (0..endpoints).map(endpoint).collect(),
    };
    ClusterReport {
        name: name.into(),
        interval: Duration::from_secs(10),
        dropped: 20,
        localities: if endpoints == 0 { Vec::new() } else { vec![locality] },
    }
}

#[test]
fn the_newest_report_of_every_proxy_counts_once() {
    let (loads, now) = (Loads::default(), Instant::now());
    loads.receive("edge", "1", vec![report("alpha", 1_000, 1), report("idle", 0, 0)], now).unwrap();
    loads.receive("edge", "1", vec![report("alpha", 100, 2)], now).unwrap();
    loads.receive("edge", "2", vec![report("alpha", 300, 1)], now).unwrap();
    loads.receive("inner", "1", vec![report("alpha", 500, 1)], now).unwrap();
    let view = loads.view(now);
    assert_eq!(view.iter().map(|one| &*one.fleet).collect::<Vec<_>>(), ["edge", "inner"]);
    let alpha = &view[0].clusters["alpha"];
    assert_eq!((alpha.proxies, alpha.dropped), (2, 4.0));
    assert_eq!(alpha.rates, Rates { requests: 50.0, errors: 5.0, in_progress: 2 });
    let place = &alpha.localities[0];
    assert_eq!((&*place.zone, alpha.localities.len()), ("a", 1));
    let requests = |address: &str| place.endpoints.get(address).map(|one| one.rates.requests);
    assert_eq!(requests("10.0.0.0:80"), Some(40.0));
    assert_eq!(requests("10.0.0.1:80"), Some(10.0));
    assert_eq!(place.endpoints["10.0.0.0:80"].metrics.get("cpu_utilization"), Some(&0.5));
    let idle = &view[0].clusters["idle"];
    assert_eq!((idle.proxies, idle.localities.len()), (1, 0));
}

#[test]
fn what_is_no_longer_reported_is_forgotten() {
    let (loads, now) = (Loads::default(), Instant::now());
    loads.receive("edge", "1", vec![report("alpha", 1_000, 1)], now).unwrap();
    let later = now + Duration::from_secs(31);
    assert_eq!(loads.view(now + Duration::from_secs(29)).len(), 1);
    assert_eq!(loads.view(later), []);
    // And no longer takes room.
    loads.receive("edge", "2", vec![report("alpha", 1_000, 1)], later).unwrap();
    let kept = loads.kept.lock().unwrap();
    assert_eq!((kept.proxies.len(), kept.entries), (1, report("alpha", 1_000, 1).entries()));
}

#[test]
fn what_clients_make_this_process_remember_is_bounded() {
    let (loads, now) = (Loads::default(), Instant::now());
    let flood: Vec<_> = (0..2_000).map(|n| report(&n.to_string(), 1, 100)).collect();
    let mut refused = 0;
    for node in 0..4 {
        refused += usize::from(loads.receive("edge", &node.to_string(), flood.clone(), now).is_err());
        assert!(loads.kept.lock().unwrap().entries <= MAX_ENTRIES);
    }
    assert!(refused >= 2, "{refused}");
    // The same again is no more than before, and what is old makes room.
    assert_eq!(loads.receive("edge", "0", flood.clone(), now), Ok(()));
    assert_eq!(loads.receive("edge", "new", vec![report("0", 1, 1)], now + Duration::from_secs(60)), Ok(()));
}

#[test]
fn a_report_over_no_time_makes_no_infinite_rates() {
    let (loads, now) = (Loads::default(), Instant::now());
    let report = ClusterReport { interval: Duration::ZERO, ..report("alpha", 10, 1) };
    loads.receive("edge", "1", vec![report], now).unwrap();
    let rates = loads.view(now)[0].clusters["alpha"].rates;
    assert_eq!((rates.requests, rates.in_progress), (0.0, 1));
}
