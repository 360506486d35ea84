//! gRPC's framing of a stream of requests and responses, for streams that live long and of which there are thousands.
//!
//! A library's would do the same, but keeps for each stream a buffer of its largest request, which for an Envoy has some 100 KiB, and another of
//! its largest response. Here a buffer lasts as long as a message that has come by half, and what is sent belongs to the transport.
//!
//! Source: "gRPC over HTTP2", PROTOCOL-HTTP2.md of the grpc repository.

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use prost::Message;
use tonic::Status;

/// What stands before each message: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

const CONTENT: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The requests of one stream.
#[derive(Debug)]
pub(super) struct Requests {
    body: Body,
    /// Received and not yet a whole message.
    partial: BytesMut,
    limit: usize,
}

/// Why there are no more requests.
#[derive(Debug)]
pub(super) enum Lost {
    /// The connection broke: there is nobody who could be told.
    Broken(String),
    /// The client sent something that is no request.
    Refused(Status),
}

impl Requests {
    /// Those in the body of a call; none may have more than `limit` bytes.
    pub(super) fn of(headers: &HeaderMap, body: Body, limit: usize) -> Result<Self, Status> {
        match headers.get(ENCODING) {
            Some(encoding) if encoding != "identity" => {
                Err(Status::unimplemented("compressed requests are not understood here"))
            }
            _ => Ok(Self { body, partial: BytesMut::new(), limit }),
        }
    }

    /// The next one; `None` when there will be none. Dropping the future loses nothing.
    pub(super) async fn next<Q: Message + Default>(&mut self) -> Result<Option<Q>, Lost> {
        loop {
            if let Some(request) = self.take()? {
                return Ok(Some(request));
            }
            match self.body.frame().await {
                // A message that was cut short is nothing that was said.
                None => return Ok(None),
                Some(Err(error)) => return Err(Lost::Broken(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.partial.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn take<Q: Message + Default>(&mut self) -> Result<Option<Q>, Lost> {
        let Some(&[compressed, l0, l1, l2, l3]) = self.partial.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if compressed != 0 {
            return Err(Lost::Refused(Status::unimplemented("compressed requests are not understood here")));
        }
        if length > self.limit {
            let message = format!("a request may have at most {} bytes", self.limit);
            return Err(Lost::Refused(Status::resource_exhausted(message)));
        }
        if self.partial.len() < PREFIX + length {
            return Ok(None);
        }
        self.partial.advance(PREFIX);
        let request = Q::decode(self.partial.split_to(length));
        if self.partial.is_empty() {
            self.partial = BytesMut::new();
        }
        request.map(Some).map_err(|error| {
            Lost::Refused(Status::invalid_argument(format!("not a request of this method: {error}")))
        })
    }
}

/// The response to a call: pieces of messages, and how it ends. A stream that ends by itself ends well.
pub(super) fn response(pieces: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Response {
    let frames = pieces.map(Some).chain(futures_util::stream::once(std::future::ready(None))).scan(
        false,
        |ended, piece| {
            let frame = match piece {
                _ if *ended => None,
                Some(Ok(piece)) => Some(Frame::data(piece)),
                Some(Err(status)) => Some(end(ended, &status)),
                None => Some(end(ended, &Status::ok(""))),
            };
            std::future::ready(frame.map(Ok::<_, std::convert::Infallible>))
        },
    );
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_TYPE, CONTENT);
    response
}

fn end(ended: &mut bool, status: &Status) -> Frame<Bytes> {
    *ended = true;
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Words that no header can have: the code says enough.
        trailers.clear();
        trailers.insert("grpc-status", HeaderValue::from(i32::from(status.code())));
    }
    Frame::trailers(trailers)
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::google::protobuf::StringValue;

    use super::*;

    fn framed(compressed: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[compressed][..], &length, message].concat()
    }

    fn requests(chunks: Vec<Vec<u8>>) -> Requests {
        let chunks = chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk)));
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        Requests::of(&HeaderMap::new(), body, 1_000).unwrap()
    }

    async fn texts(mut requests: Requests) -> Result<Vec<String>, Lost> {
        let mut texts = Vec::new();
        while let Some(request) = requests.next::<StringValue>().await? {
            texts.push(request.value);
            assert!(requests.partial.is_empty() == (requests.partial.capacity() == 0), "a buffer is kept");
        }
        Ok(texts)
    }

    #[tokio::test]
    async fn messages_are_found_however_they_are_cut() {
        let message = |text: &str| framed(0, &StringValue { value: text.into() }.encode_to_vec());
        let all = [message("one"), message(""), message("three")].concat();
        for size in 1..=all.len() {
            let chunks = all.chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(texts(requests(chunks)).await.unwrap(), ["one", "", "three"], "{size}");
        }
        // What is cut short was not said.
        let cut = all.get(..all.len() - 1).unwrap().to_vec();
        assert_eq!(texts(requests(vec![cut])).await.unwrap(), ["one", ""]);
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused_in_words() {
        let code = |lost: Result<Vec<String>, Lost>| match lost {
            Err(Lost::Refused(status)) => status.code(),
            other => panic!("{other:?}"),
        };
        let refused = async |bytes: Vec<u8>| code(texts(requests(vec![bytes])).await);
        assert_eq!(refused(framed(1, b"x")).await, tonic::Code::Unimplemented);
        assert_eq!(refused(framed(0, b"\xff\xff\xff")).await, tonic::Code::InvalidArgument);
        // Before it is all there.
        assert_eq!(refused(vec![0, 0, 0, 4, 0]).await, tonic::Code::ResourceExhausted);

        let headers = HeaderMap::from_iter([(ENCODING, HeaderValue::from_static("gzip"))]);
        let compressed = Requests::of(&headers, Body::empty(), 1_000).unwrap_err();
        assert_eq!(compressed.code(), tonic::Code::Unimplemented);
    }

    #[tokio::test]
    async fn a_response_ends_with_what_it_ended_for() {
        let piece = || Ok(Bytes::from_static(b"piece"));
        for (pieces, code) in [
            (vec![piece()], "0"),
            (vec![piece(), Err(Status::unavailable("gone")), piece()], "14"),
            (vec![], "0"),
        ] {
            let expected = pieces.iter().take_while(|piece| piece.is_ok()).count() * 5;
            let response = response(futures_util::stream::iter(pieces));
            assert_eq!(response.headers().get(CONTENT_TYPE), Some(&CONTENT));
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap().get("grpc-status").unwrap(), code);
            assert_eq!(body.to_bytes().len(), expected);
        }
    }
}
