//! HTTP/2 frames (RFC 9113, section 4) as far as a gRPC client needs them. Header blocks are written without the dynamic table and not
//! read at all: what a test wants to know is whether a stream goes on.

use anyhow::{Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// What a client sends before its first frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload that a peer must take without having said so.
pub const MAX_PAYLOAD: usize = 16_384;

/// The window that every connection and stream begins with, in bytes.
pub const FIRST_WINDOW: i64 = 65_535;

const HEADER: usize = 9;

/// Frame types.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// The setting that is the window of new streams.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame that a server has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Part of a stream's messages.
    Data {
        /// Which stream.
        stream: u32,
        /// Whether nothing follows.
        end: bool,
        /// What is left without padding.
        payload: Bytes,
        /// What it takes from the windows, padding included.
        size: u32,
    },
    /// Headers or trailers.
    Headers {
        /// Which stream.
        stream: u32,
        /// Whether nothing follows.
        end: bool,
    },
    /// The server's settings, to be acknowledged.
    Settings {
        /// The window of every stream, where the server says one.
        window: Option<u32>,
    },
    /// To be sent back.
    Ping([u8; 8]),
    /// More may be sent, on this stream or (0) on the connection.
    WindowUpdate {
        /// Which stream.
        stream: u32,
        /// By how much.
        increment: u32,
    },
    /// The stream is over.
    Reset {
        /// Which stream.
        stream: u32,
    },
    /// No new streams are taken.
    GoAway,
    /// Of no interest.
    Other,
}

/// Takes the next whole frame off what has been received.
pub fn take(inbound: &mut BytesMut) -> Result<Option<Frame>> {
    let Some(&[l0, l1, l2, kind, flags, s0, s1, s2, s3]) = inbound.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
    let stream = u32::from_be_bytes([s0, s1, s2, s3]) & (u32::MAX >> 1);
    if inbound.len() < HEADER + length {
        inbound.reserve(HEADER + length - inbound.len());
        return Ok(None);
    }
    inbound.advance(HEADER);
    let payload = inbound.split_to(length).freeze();
    read(kind, flags, stream, payload).map(Some)
}

fn read(kind: u8, flags: u8, stream: u32, mut payload: Bytes) -> Result<Frame> {
    let end = flags & END_STREAM != 0;
    let four = |bytes: &[u8]| bytes.first_chunk().map(|four| u32::from_be_bytes(*four));
    Ok(match kind {
        kind::DATA => {
            let size = u32::try_from(payload.len())?;
            if flags & PADDED != 0 {
                ensure!(!payload.is_empty(), "a padded frame without its length of padding");
                let padding = usize::from(payload.get_u8());
                ensure!(padding <= payload.len(), "more padding than payload");
                payload.truncate(payload.len() - padding);
            }
            Frame::Data { stream, end, payload, size }
        }
        kind::HEADERS => Frame::Headers { stream, end },
        kind::RST_STREAM => Frame::Reset { stream },
        kind::SETTINGS if flags & ACK == 0 => {
            let mut window = None;
            while let Some(&[n0, n1, v0, v1, v2, v3]) = payload.first_chunk::<6>() {
                payload.advance(6);
                if u16::from_be_bytes([n0, n1]) == INITIAL_WINDOW_SIZE {
                    window = Some(u32::from_be_bytes([v0, v1, v2, v3]));
                }
            }
            Frame::Settings { window }
        }
        kind::PING if flags & ACK == 0 => match payload.first_chunk() {
            Some(eight) => Frame::Ping(*eight),
            None => anyhow::bail!("a ping of {} bytes", payload.len()),
        },
        kind::GOAWAY => Frame::GoAway,
        kind::WINDOW_UPDATE => Frame::WindowUpdate { stream, increment: four(&payload).unwrap_or_default() },
        _ => Frame::Other,
    })
}

fn head(to: &mut BytesMut, length: usize, kind: u8, flags: u8, stream: u32) {
    to.put_uint(u64::try_from(length).unwrap_or_default(), 3);
    to.put_u8(kind);
    to.put_u8(flags);
    to.put_u32(stream);
}

/// Writes the settings of a client whose streams have this window.
pub fn settings(to: &mut BytesMut, window: u32) {
    head(to, 6, kind::SETTINGS, 0, 0);
    to.put_u16(INITIAL_WINDOW_SIZE);
    to.put_u32(window);
}

/// Acknowledges the server's settings.
pub fn settings_acknowledgement(to: &mut BytesMut) {
    head(to, 0, kind::SETTINGS, ACK, 0);
}

/// Answers a ping.
pub fn pong(to: &mut BytesMut, payload: [u8; 8]) {
    head(to, payload.len(), kind::PING, ACK, 0);
    to.put_slice(&payload);
}

/// Gives back what has been consumed of a window.
pub fn window_update(to: &mut BytesMut, stream: u32, increment: u32) {
    head(to, 4, kind::WINDOW_UPDATE, 0, stream);
    to.put_u32(increment);
}

/// Ends a stream without ceremony.
pub fn reset(to: &mut BytesMut, stream: u32) {
    /// The code for "not needed any more".
    const CANCEL: u32 = 8;
    head(to, 4, kind::RST_STREAM, 0, stream);
    to.put_u32(CANCEL);
}

/// Writes one piece of a stream's messages, at most [`MAX_PAYLOAD`] bytes.
pub fn data(to: &mut BytesMut, stream: u32, end: bool, payload: &[u8]) {
    head(to, payload.len(), kind::DATA, if end { END_STREAM } else { 0 }, stream);
    to.put_slice(payload);
}

/// Begins a gRPC call with these additional headers.
pub fn call(to: &mut BytesMut, stream: u32, authority: &str, path: &str, more: &[(&str, &str)]) {
    let mut block = BytesMut::with_capacity(256);
    // `:method: POST` and `:scheme: http` are entries of the static table (RFC 7541, appendix A).
    block.put_slice(&[0x83, 0x86]);
    named_by_index(&mut block, 4, path);
    named_by_index(&mut block, 1, authority);
    named_by_index(&mut block, 31, "application/grpc");
    literal(&mut block, "te", "trailers");
    for (name, value) in more {
        literal(&mut block, name, value);
    }
    let mut pieces = block.chunks(MAX_PAYLOAD).peekable();
    let mut kind = kind::HEADERS;
    while let Some(piece) = pieces.next() {
        head(to, piece.len(), kind, if pieces.peek().is_none() { END_HEADERS } else { 0 }, stream);
        to.put_slice(piece);
        kind = kind::CONTINUATION;
    }
}

/// A header whose name is in the static table, not to be remembered.
fn named_by_index(block: &mut BytesMut, index: usize, value: &str) {
    integer(block, index, 4);
    string(block, value);
}

fn literal(block: &mut BytesMut, name: &str, value: &str) {
    block.put_u8(0);
    string(block, name);
    string(block, value);
}

fn string(block: &mut BytesMut, text: &str) {
    integer(block, text.len(), 7);
    block.put_slice(text.as_bytes());
}

/// An integer with a prefix of so many bits, the bits before it zero (RFC 7541, section 5.1).
fn integer(block: &mut BytesMut, value: usize, prefix: u32) {
    let most = (1_usize << prefix) - 1;
    let byte = |value: usize| u8::try_from(value & 0xff).unwrap_or_default();
    if value < most {
        block.put_u8(byte(value));
        return;
    }
    block.put_u8(byte(most));
    let mut rest = value - most;
    while rest >= 128 {
        block.put_u8(byte(rest & 0x7f | 0x80));
        rest >>= 7;
    }
    block.put_u8(byte(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_in_the_rfc() {
        let written = |value, prefix| {
            let mut block = BytesMut::new();
            integer(&mut block, value, prefix);
            block.to_vec()
        };
        assert_eq!(written(10, 5), [10]);
        assert_eq!(written(1337, 5), [31, 154, 10]);
        assert_eq!(written(31, 4), [15, 16]);
    }

    #[test]
    fn frames_are_taken_one_by_one_however_they_arrive() {
        let mut sent = BytesMut::new();
        data(&mut sent, 3, false, b"abc");
        window_update(&mut sent, 0, 70_000);
        reset(&mut sent, 3);
        let mut inbound = BytesMut::new();
        let mut frames = Vec::new();
        for byte in sent {
            inbound.put_u8(byte);
            frames.extend(take(&mut inbound).unwrap());
        }
        let payload = Bytes::from_static(b"abc");
        assert_eq!(
            frames,
            [
                Frame::Data { stream: 3, end: false, payload, size: 3 },
                Frame::WindowUpdate { stream: 0, increment: 70_000 },
                Frame::Reset { stream: 3 },
            ]
        );
    }

    #[test]
    fn padding_is_no_payload() {
        let padded = Bytes::from_static(&[2, b'a', 0, 0]);
        let read = read(kind::DATA, PADDED, 1, padded).unwrap();
        let payload = Bytes::from_static(b"a");
        assert_eq!(read, Frame::Data { stream: 1, end: false, payload, size: 4 });
        assert!(super::read(kind::DATA, PADDED, 1, Bytes::from_static(&[9, 0])).is_err());
    }
}
