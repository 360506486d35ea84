//! gRPC's framing of a stream's messages, for streams that live as long as a proxy does.
//!
//! tonic's own keeps, for each stream, a buffer for requests that stays as large as the largest request was, and one for responses. An Envoy's
//! first request lists all its extensions, some 100 KiB, and is never followed by one of that size: with thousands of proxies these buffers
//! would be most of this process. Here nothing is kept between messages.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http_body_util::StreamBody;
use hyper::body::{Body as _, Frame};
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Status};

/// One byte that says whether the message is compressed, four of its length.
const PREFIX: usize = 5;

/// What a client sends, message by message.
pub(super) struct Requests<Q> {
    body: axum::body::Body,
    /// Received and not yet a whole message.
    pending: BytesMut,
    max_length: usize,
    messages: PhantomData<fn() -> Q>,
}

impl<Q: Message + Default> Requests<Q> {
    fn new(body: axum::body::Body, max_length: usize) -> Self {
        Self { body, pending: BytesMut::new(), max_length, messages: PhantomData }
    }

    /// The next message; `None` when the client has nothing more to say. Dropping the future loses nothing.
    pub(super) async fn message(&mut self) -> Result<Option<Q>, Status> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Q>, Status>> {
        loop {
            if let Some(message) = self.take()? {
                return Poll::Ready(Ok(Some(message)));
            }
            let Some(frame) = std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) else {
                return Poll::Ready(if self.pending.is_empty() {
                    Ok(None)
                } else {
                    Err(Status::internal("the stream ended within a message"))
                });
            };
            let frame = frame.map_err(|error| Status::from_error(error.into()))?;
            if let Ok(data) = frame.into_data() {
                self.pending.extend_from_slice(&data);
            }
        }
    }

    /// A whole message off what has been received.
    fn take(&mut self) -> Result<Option<Q>, Status> {
        let Some(&[compressed, l0, l1, l2, l3]) = self.pending.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err(Status::unimplemented("compressed requests are not taken: no compression was offered"));
        }
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if length > self.max_length {
            return Err(Status::out_of_range(format!("a message of {length} bytes")));
        }
        if self.pending.len() < PREFIX + length {
            return Ok(None);
        }
        self.pending.advance(PREFIX);
        let message = Q::decode(self.pending.split_to(length).freeze());
        if self.pending.is_empty() {
            // Its memory goes with it.
            self.pending = BytesMut::new();
        }
        message.map(Some).map_err(|error| Status::internal(format!("not the message expected: {error}")))
    }
}

/// Answers a call: `method` makes responses of requests.
pub(super) async fn streaming<Q, R, S>(
    request: Request,
    max_length: usize,
    method: impl AsyncFnOnce(tonic::Request<Requests<Q>>) -> Result<S, Status>,
) -> Response<Body>
where
    Q: Message + Default,
    R: Message,
    S: Stream<Item = Result<R, Status>> + Send + Unpin + 'static,
{
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, Requests::new(body, max_length));
    match method(tonic::Request::from_http(request)).await {
        Err(status) => status.into_http(),
        Ok(responses) => {
            let mut response = Response::new(Body::new(StreamBody::new(frames(responses))));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
    }
}

/// The frames of a response: messages, and a status as the last one.
fn frames<R: Message>(
    responses: impl Stream<Item = Result<R, Status>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static {
    stream::unfold(Some(responses), |responses| async {
        let mut responses = responses?;
        let next = poll_fn(|context| Pin::new(&mut responses).poll_next(context)).await;
        let (frame, rest) = match next {
            Some(Ok(message)) => (Frame::data(encode(&message)), Some(responses)),
            Some(Err(status)) => (Frame::trailers(trailers(&status)), None),
            None => (Frame::trailers(trailers(&Status::new(Code::Ok, ""))), None),
        };
        Some((Ok(frame), rest))
    })
}

/// A message behind its prefix, in a buffer of just its size.
fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    // Four gigabytes are not reached: what is sent has been built in memory from documents.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut frame);
    frame.freeze()
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Its message can't be a header. Its code can.
        trailers.insert("grpc-status", HeaderValue::from(i32::from(status.code())));
    }
    trailers
}

#[cfg(test)]
mod tests;
