//! What a client can't do to this process and to others.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn streams_over_the_limit_are_refused_in_words_until_others_end() {
    let server = serve_with(context(1, Duration::ZERO)).await;
    server.publish(Kind::Listener, &[("a", "1".into())]);
    let mut first = server.open().await;
    first.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    first.next().await.unwrap();
    let (_requests, receiver) = mpsc::channel::<DeltaDiscoveryRequest>(1);
    let refused = server.connect().await.delta_aggregated_resources(ReceiverStream::new(receiver)).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    drop(first);
    let ended = async {
        while server.context.clients.count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, ended).await.unwrap();
    let mut second = server.open().await;
    second.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
    second.next().await.unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_names_are_refused_in_words() {
    let server = serve().await;
    server.publish(Kind::Endpoints, &[]);
    let mut greedy = server.open().await;
    let resource_names_subscribe = (0..100_000).map(|n| format!("name-{n}")).collect();
    greedy
        .send(Kind::Endpoints, DeltaDiscoveryRequest { resource_names_subscribe, ..Default::default() })
        .await;
    let status = greedy.next().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("50000 names"), "{status}");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_in_words() {
    let server = serve().await;
    let mut greedy = server.open().await;
    let resource_names_subscribe = vec!["x".repeat(MAX_REQUEST)];
    greedy
        .send(Kind::Endpoints, DeltaDiscoveryRequest { resource_names_subscribe, ..Default::default() })
        .await;
    let status = greedy.next().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("bytes"), "{status}");
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = Incoming::new(listener, None, 1).into_stream();
    let server = tokio::spawn(async move {
        // Kept, as a server would.
        let mut kept = Vec::new();
        let mut incoming = std::pin::pin!(incoming);
        while let Some(connection) = futures_util::StreamExt::next(&mut incoming).await {
            kept.push(connection);
        }
    });
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    let end = tokio::time::timeout(SOON, second.read(&mut byte)).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let open = tokio::time::timeout(Duration::from_millis(50), first.read(&mut byte)).await;
    assert!(open.is_err(), "{open:?}");
    server.abort();
}

#[tokio::test]
async fn a_resource_is_encoded_once_whatever_the_number_of_streams() {
    let server = serve().await;
    server.publish(Kind::Listener, &[("a", "1".into())]);
    let mut proxies = Vec::new();
    for _ in 0..20 {
        let proxy = server.open().await;
        proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
        proxies.push(proxy);
    }
    for proxy in &mut proxies {
        let response = proxy.next().await.unwrap();
        proxy.accept(Kind::Listener, &response).await;
    }
    let before = crate::snapshot::encoded();
    server.publish(Kind::Listener, &[("a", "2".into())]);
    for proxy in &mut proxies {
        assert_eq!(names(&proxy.next().await.unwrap()), ["a"]);
    }
    // In this thread: the test's runtime has no other, and this one resource is all that it has encoded since.
    assert_eq!(crate::snapshot::encoded() - before, 1);
}

#[tokio::test]
async fn streams_end_one_after_another_and_all_within_the_grace() {
    let grace = Duration::from_millis(500);
    let server = serve_with(context(1_000, grace)).await;
    server.publish(Kind::Listener, &[("a", "1".into())]);
    // So many that the grace is the bound, on a few connections as an aggregating proxy would have them.
    let mut proxies = Vec::new();
    for _ in 0..5 {
        let mut client = server.connect().await;
        for _ in 0..60 {
            let (requests, receiver) = mpsc::channel(1);
            let stream = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap();
            let mut proxy = Proxy { requests, responses: stream.into_inner() };
            proxy.send(Kind::Listener, DeltaDiscoveryRequest::default()).await;
            proxy.next().await.unwrap();
            proxies.push(proxy);
        }
    }
    let begun = Instant::now();
    server.context.shutdown.begun.cancel();
    let mut ends = Vec::new();
    for mut proxy in proxies {
        ends.push(tokio::spawn(async move {
            assert_eq!(proxy.next().await.unwrap_err().code(), Code::Unavailable);
            begun.elapsed()
        }));
    }
    let mut times = Vec::new();
    for end in ends {
        times.push(end.await.unwrap());
    }
    times.sort_unstable();
    // By chance alone 300 ends fall into the first half with a probability of 2^-300.
    assert!(times.last().unwrap() > &(grace / 2), "{times:?}");
    tokio::time::timeout(SOON, server.server).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_no_ping_is_closed_and_its_streams_with_it() {
    let server = serve().await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    // All that it ever says (RFC 9113, RFC 7541): the preface, empty settings, and the head of one request.
    let method = SERVICES.first().unwrap().2;
    let text = |value: &str| [&[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    let head = [
        vec![0x83, 0x86, 0x04],
        text(method),
        [vec![0x01], text("spillway")].concat(),
        [vec![0x0f, 0x10], text("application/grpc")].concat(),
        [vec![0x00], text("te"), text("trailers")].concat(),
    ];
    let head = head.concat();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(head.len()).unwrap();
    let frame = [0, 0, length, 1, 4, 0, 0, 0, 1];
    let said = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &frame, &head].concat();
    silent.write_all(&said).await.unwrap();
    let streams = async |count: usize| {
        let reached = async {
            while server.context.clients.count() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON / 2, reached).await.expect("another number of streams");
    };
    streams(1).await;
    let begun = tokio::time::Instant::now();
    let mut answer = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(120), silent.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "still open");
    let lasted = begun.elapsed();
    let longest = KEEPALIVE_INTERVAL + KEEPALIVE_TIMEOUT + Duration::from_secs(1);
    assert!((KEEPALIVE_TIMEOUT..longest).contains(&lasted), "{lasted:?}");
    streams(0).await;
}
