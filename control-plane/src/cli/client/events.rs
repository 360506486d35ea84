//! Server-sent events, read from a response as they come.
//!
//! The format: <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::{Client, ClientError, cause};

/// Longer events are none of ours.
const MAX_EVENT: usize = 16 << 20;

/// A server that keeps quiet sends comments; after this long without even one it is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::cli) struct Event {
    /// Its type.
    pub(in crate::cli) name: String,
    /// Its content, JSON here.
    pub(in crate::cli) data: String,
}

/// A stream of events that is read as it is asked for.
#[derive(Debug)]
pub(in crate::cli) struct Events<'a> {
    client: &'a Client,
    body: Incoming,
    parser: Parser,
}

impl<'a> Events<'a> {
    pub(super) fn new(client: &'a Client, body: Incoming) -> Self {
        Self { client, body, parser: Parser::default() }
    }

    /// The next event; `None` if there is none within `limit`. The end of the stream is an error: the server went away.
    pub(in crate::cli) fn next(&mut self, limit: Duration) -> Result<Option<Event>, ClientError> {
        let client = self.client;
        client.runtime.block_on(async {
            let deadline = Instant::now() + limit;
            let mut heard = Instant::now();
            loop {
                if let Some(event) = self.parser.next() {
                    return Ok(Some(event));
                }
                let frame = match timeout_at(deadline.min(heard + SILENCE), self.body.frame()).await {
                    Ok(Some(Ok(frame))) => frame,
                    Ok(Some(Err(error))) => return Err(client.away(cause(&error))),
                    Ok(None) => return Err(client.away("it has ended the stream of events")),
                    Err(_) if Instant::now() < deadline => {
                        return Err(client.away(format!("nothing came for {SILENCE:?}")));
                    }
                    Err(_) => return Ok(None),
                };
                heard = Instant::now();
                if let Ok(data) = frame.into_data() {
                    self.parser.feed(&data);
                    if self.parser.buffered() > MAX_EVENT {
                        return Err(client.not_spillway("its event does not end".into()));
                    }
                }
            }
        })
    }
}

#[derive(Debug, Default)]
struct Parser {
    bytes: Vec<u8>,
    event: Event,
    has_data: bool,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn buffered(&self) -> usize {
        self.bytes.len() + self.event.data.len()
    }

    /// The next whole event. Lines end with LF or CRLF; a lone CR, which the format allows too, is not sent by our server.
    fn next(&mut self) -> Option<Event> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if std::mem::take(&mut self.has_data) {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.name),
                "data" => {
                    if self.has_data {
                        self.event.data.push('\n');
                    }
                    self.has_data = true;
                    self.event.data.push_str(value);
                }
                // Comments have an empty name; what else there may be does not matter here.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whole_however_they_are_cut() {
        let text =
            ": hello\n\nevent: revision\ndata: {\"a\":1}\r\nid: 4\n\nevent: none\n\ndata: x\ndata:y\n\n";
        let expected = [
            Event { name: "revision".into(), data: "{\"a\":1}".into() },
            Event { name: String::new(), data: "x\ny".into() },
        ];
        for size in [1, 3, 1000] {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                parser.feed(piece);
                events.extend(std::iter::from_fn(|| parser.next()));
            }
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }
}
