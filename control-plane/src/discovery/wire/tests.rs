use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;

use super::*;

/// `google.protobuf.StringValue`.
#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, tag = "1")]
    value: String,
}

fn text(value: &str) -> Text {
    Text { value: value.into() }
}

/// Requests whose bytes arrive in these pieces.
fn requests(pieces: Vec<Bytes>) -> Requests<Text> {
    let pieces = pieces.into_iter().map(Ok::<_, Status>);
    Requests::new(axum::body::Body::from_stream(stream::iter(pieces)), 1_000)
}

#[tokio::test]
async fn messages_are_read_however_they_are_cut() {
    let sent = [encode(&text("one")), encode(&text("")), encode(&text(&"long ".repeat(100)))].concat();
    for size in [1, 2, 5, 7, 100, sent.len()] {
        let mut requests = requests(sent.chunks(size).map(Bytes::copy_from_slice).collect());
        for expected in ["one", "", &"long ".repeat(100)] {
            assert_eq!(requests.message().await.unwrap(), Some(text(expected)), "in pieces of {size}");
        }
        assert_eq!(requests.message().await.unwrap(), None);
        assert_eq!(requests.pending.capacity(), 0, "memory is kept after the last message");
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let cases: [(&[u8], Code); 4] = [
        (&[0, 0, 0, 0, 9, 1, 2], Code::Internal),
        (&[0, 0, 0, 0, 2, 0xff, 0xff], Code::Internal),
        (&[1, 0, 0, 0, 0], Code::Unimplemented),
        (&[0, 0xff, 0xff, 0xff, 0xff], Code::OutOfRange),
    ];
    for (bytes, code) in cases {
        let error = requests(vec![Bytes::from_static(bytes)]).message().await.unwrap_err();
        assert_eq!(error.code(), code, "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn a_response_ends_with_its_status() {
    let ends = [Ok(()), Err(Status::unavailable("not now\u{1f6d1}"))];
    for end in ends {
        let code = end.as_ref().err().map_or(Code::Ok, Status::code);
        let responses = [Ok(text("one")), Ok(text("two"))].into_iter().chain(end.err().map(Err));
        let frames: Vec<_> = frames(stream::iter(responses)).map(Result::unwrap).collect().await;
        let [one, two, last] = <[_; 3]>::try_from(frames).unwrap();
        assert_eq!(one.into_data().unwrap(), encode(&text("one")));
        assert_eq!(two.into_data().unwrap(), encode(&text("two")));
        let trailers = last.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], i32::from(code).to_string());
    }
}

#[tokio::test]
async fn a_call_is_answered_message_by_message() {
    let body = axum::body::Body::from([encode(&text("a")), encode(&text("b"))].concat());
    let response = streaming(Request::new(body), 1_000, async |request: tonic::Request<Requests<Text>>| {
        let echo = stream::unfold(request.into_inner(), |mut requests| async {
            requests.message().await.transpose().map(|message| (message, requests))
        });
        Ok(echo.boxed())
    })
    .await;
    assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), [encode(&text("a")), encode(&text("b"))].concat());
}

#[tokio::test]
async fn a_refused_call_carries_its_status_in_the_headers() {
    let response = streaming::<Text, Text, stream::Empty<_>>(Request::default(), 1_000, async |_| {
        Err(Status::resource_exhausted("too many"))
    })
    .await;
    assert_eq!(response.headers()["grpc-status"], "8");
}
