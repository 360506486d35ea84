//! One HTTP/2 connection without encryption, with any number of gRPC streams. It has no task of its own: whoever waits for the next message
//! sends what is queued meanwhile.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};

use super::frame::{self, Frame};

/// What this end lets the server send, as much as Envoy does.
const WINDOW: u32 = 256 * 1024 * 1024;

/// Windows are given back in portions of this many bytes.
const WINDOW_PORTION: u32 = WINDOW / 4;

/// Read from the socket at once.
const CHUNK: usize = 16 * 1024;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    authority: String,
    /// Received and not yet read as frames.
    inbound: BytesMut,
    /// Frames that may be sent at once.
    outbound: BytesMut,
    streams: BTreeMap<u32, Stream>,
    next_stream: u32,
    /// What may still be sent, on all streams together.
    window: i64,
    /// What each new stream may send.
    first_window: i64,
    /// Received since the last update of the connection's window.
    consumed: u32,
    /// Whether what the server sends is read.
    reads: bool,
}

#[derive(Debug)]
struct Stream {
    /// Received and not yet a whole message.
    inbound: BytesMut,
    /// Messages that wait for the window.
    outbound: BytesMut,
    window: i64,
    consumed: u32,
    /// Whether this end has nothing more to send once `outbound` is.
    closing: bool,
    ended: bool,
}

/// What a server did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A gRPC message.
    Message(u32, Bytes),
    /// A stream is over.
    Ended(u32),
}

impl Connection {
    /// Connects, from an address of the caller's choice where there is one: a machine has only so many ports for each.
    pub async fn open(target: SocketAddr, from: Option<IpAddr>) -> Result<Self> {
        let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = from {
            socket.bind((from, 0).into()).with_context(|| format!("cannot send from {from}"))?;
        }
        let socket = socket.connect(target).await.with_context(|| format!("cannot connect to {target}"))?;
        socket.set_nodelay(true)?;
        let mut outbound = BytesMut::from(frame::PREFACE);
        frame::settings(&mut outbound, WINDOW);
        frame::window_update(&mut outbound, 0, WINDOW);
        Ok(Self {
            socket,
            authority: target.to_string(),
            inbound: BytesMut::new(),
            outbound,
            streams: BTreeMap::new(),
            next_stream: 1,
            window: frame::FIRST_WINDOW,
            first_window: frame::FIRST_WINDOW,
            consumed: 0,
            reads: true,
        })
    }

    /// Begins a gRPC call and gives the stream's number.
    pub fn call(&mut self, path: &str, headers: &[(&str, &str)]) -> u32 {
        let number = self.next_stream;
        self.next_stream += 2;
        frame::call(&mut self.outbound, number, &self.authority, path, headers);
        let stream = Stream {
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            window: self.first_window,
            consumed: 0,
            closing: false,
            ended: false,
        };
        self.streams.insert(number, stream);
        number
    }

    /// Queues a message.
    pub fn send(&mut self, stream: u32, message: &impl Message) {
        let length = message.encoded_len();
        let mut encoded = BytesMut::with_capacity(5 + length);
        encoded.put_u8(0);
        encoded.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        encoded.put_slice(&message.encode_to_vec());
        self.send_bytes(stream, &encoded);
    }

    /// Queues bytes that should be a message and need not be one.
    pub fn send_bytes(&mut self, stream: u32, bytes: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.outbound.put_slice(bytes);
        }
        self.fill();
    }

    /// Queues bytes that should be frames and need not be any.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.outbound.put_slice(bytes);
    }

    /// Says that nothing more comes on a stream.
    pub fn finish(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.closing = true;
        }
        self.fill();
    }

    /// Ends a stream at once.
    pub fn reset(&mut self, stream: u32) {
        self.streams.remove(&stream);
        frame::reset(&mut self.outbound, stream);
    }

    /// From now on leaves what the server sends in the socket.
    pub fn stop_reading(&mut self) {
        self.reads = false;
    }

    /// Whether everything queued has been handed to the kernel.
    pub fn is_sent(&self) -> bool {
        self.outbound.is_empty() && self.streams.values().all(|stream| stream.outbound.is_empty())
    }

    /// The next event; `None` when the server has closed the connection. Sends what is queued in the meantime. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parse()? {
                // What a frame calls for in return goes out before anybody thinks about the event.
                self.write()?;
                return Ok(Some(event));
            }
            self.write()?;
            let interest = match (self.reads, self.outbound.is_empty()) {
                (true, true) => Interest::READABLE,
                (true, false) => Interest::READABLE | Interest::WRITABLE,
                (false, false) => Interest::WRITABLE,
                (false, true) => return std::future::pending().await,
            };
            let ready = self.socket.ready(interest).await?;
            if ready.is_readable() && self.reads && !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Sends what is queued as far as that is possible without waiting.
    pub fn write(&mut self) -> Result<()> {
        while !self.outbound.is_empty() {
            match self.socket.try_write(&self.outbound) {
                Ok(written) => self.outbound.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("sending"),
            }
        }
        // Nothing is kept for later: most of ten thousand connections are idle.
        self.outbound = BytesMut::new();
        Ok(())
    }

    /// Whether there may be more to read.
    fn read(&mut self) -> Result<bool> {
        let mut chunk = [0; CHUNK];
        loop {
            match self.socket.try_read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => self.inbound.put_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error).context("receiving"),
            }
            if self.inbound.len() >= 4 * CHUNK {
                return Ok(true);
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some((number, message)) = self.message()? {
                return Ok(Some(Event::Message(number, message)));
            }
            if let Some((&number, _)) = self.streams.iter().find(|(_, stream)| stream.ended) {
                self.streams.remove(&number);
                return Ok(Some(Event::Ended(number)));
            }
            let Some(frame) = frame::take(&mut self.inbound)? else {
                if self.inbound.is_empty() {
                    self.inbound = BytesMut::new();
                }
                return Ok(None);
            };
            self.take(frame);
        }
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Data { stream, end, payload, size } => {
                give_back(&mut self.consumed, size, 0, &mut self.outbound);
                if let Some(state) = self.streams.get_mut(&stream) {
                    give_back(&mut state.consumed, size, stream, &mut self.outbound);
                    state.inbound.put_slice(&payload);
                    state.ended |= end;
                }
            }
            Frame::Headers { stream, end } => {
                if let Some(state) = self.streams.get_mut(&stream) {
                    state.ended |= end;
                }
            }
            Frame::Reset { stream } => {
                if let Some(state) = self.streams.get_mut(&stream) {
                    state.ended = true;
                }
            }
            Frame::Settings { window } => {
                frame::settings_acknowledgement(&mut self.outbound);
                if let Some(window) = window.map(i64::from) {
                    for stream in self.streams.values_mut() {
                        stream.window += window - self.first_window;
                    }
                    self.first_window = window;
                }
                self.fill();
            }
            Frame::Ping(payload) => frame::pong(&mut self.outbound, payload),
            Frame::WindowUpdate { stream: 0, increment } => {
                self.window += i64::from(increment);
                self.fill();
            }
            Frame::WindowUpdate { stream, increment } => {
                if let Some(state) = self.streams.get_mut(&stream) {
                    state.window += i64::from(increment);
                }
                self.fill();
            }
            Frame::GoAway | Frame::Other => {}
        }
    }

    /// A whole message of some stream.
    fn message(&mut self) -> Result<Option<(u32, Bytes)>> {
        /// A server that sends larger ones is broken.
        const MAX_MESSAGE: usize = 256 * 1024 * 1024;
        for (number, stream) in &mut self.streams {
            let Some(&[compressed, l0, l1, l2, l3]) = stream.inbound.first_chunk::<5>() else { continue };
            let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3]))?;
            ensure!(compressed == 0, "a compressed message, which nobody asked for");
            ensure!(length <= MAX_MESSAGE, "a message of {length} bytes");
            if stream.inbound.len() < 5 + length {
                continue;
            }
            stream.inbound.advance(5);
            let message = stream.inbound.split_to(length).freeze();
            if stream.inbound.is_empty() {
                stream.inbound = BytesMut::new();
            }
            return Ok(Some((*number, message)));
        }
        Ok(None)
    }

    /// Turns queued messages into frames as far as the windows allow.
    fn fill(&mut self) {
        for (number, stream) in &mut self.streams {
            while !stream.outbound.is_empty() {
                let allowed = usize::try_from(self.window.min(stream.window)).unwrap_or(0);
                let length = stream.outbound.len().min(frame::MAX_PAYLOAD).min(allowed);
                if length == 0 {
                    break;
                }
                frame::data(&mut self.outbound, *number, false, &stream.outbound.split_to(length));
                let length = i64::try_from(length).unwrap_or(i64::MAX);
                self.window -= length;
                stream.window -= length;
            }
            if stream.outbound.is_empty() {
                stream.outbound = BytesMut::new();
                if stream.closing {
                    stream.closing = false;
                    frame::data(&mut self.outbound, *number, true, &[]);
                }
            }
        }
    }
}

/// Counts what has been received, and lets the server send as much again once it has become a portion.
fn give_back(consumed: &mut u32, size: u32, stream: u32, outbound: &mut BytesMut) {
    *consumed += size;
    if *consumed >= WINDOW_PORTION {
        frame::window_update(outbound, stream, *consumed);
        *consumed = 0;
    }
}
