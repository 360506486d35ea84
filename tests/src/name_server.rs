//! A name server that says what a test tells it to.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Answers questions for IPv4 addresses over UDP. Names that it was not told do not exist.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<BTreeMap<String, Told>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What is said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Its addresses.
    Addresses(Vec<Ipv4Addr>),
    /// SERVFAIL.
    Failure,
    /// Nothing at all.
    Silence,
}

/// The header, the question's type and class (RFC 1035, section 4.1).
const HEADER: usize = 12;
const TYPE_A: [u8; 4] = [0, 1, 0, 1];

impl NameServer {
    /// Starts one on a free port of this machine.
    pub fn start() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a name server")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let address = socket.local_addr()?;
        let zone = Arc::<Mutex<BTreeMap<String, Told>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (known, ending) = (Arc::clone(&zone), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while !ending.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                let question = buffer.get(..length).unwrap_or_default();
                let answer = answer(question, &known.lock().unwrap_or_else(PoisonError::into_inner));
                if let Some(answer) = answer {
                    // Whoever has gone does not want it.
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Ok(Self { address, zone, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is said of a name.
    pub fn tell(&self, name: &str, told: Told) {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), told);
    }

    /// From now on there is no such name.
    pub fn forget(&self, name: &str) {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that a test would want to hear.
            let _ = thread.join();
        }
    }
}

/// The answer to a question; `None` to a malformed one, and to one that meets with silence.
fn answer(question: &[u8], zone: &BTreeMap<String, Told>) -> Option<Vec<u8>> {
    let (name, end) = name(question)?;
    let kind = question.get(end..end + 4)?;
    let (code, addresses) = match zone.get(&name) {
        None => (3, &[][..]),
        Some(Told::Failure) => (2, &[][..]),
        Some(Told::Silence) => return None,
        Some(Told::Addresses(addresses)) if *kind == TYPE_A => (0, addresses.as_slice()),
        Some(Told::Addresses(_)) => (0, &[][..]),
    };
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(addresses.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(question.get(HEADER..end + 4)?);
    for address in addresses {
        // The name is the question's; its address is good for no time at all.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// The name that is asked for, in lower case, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), HEADER);
    loop {
        let length = usize::from(*question.get(at)?);
        if length == 0 {
            return Some((name, at + 1));
        }
        let label = question.get(at + 1..at + 1 + length)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label).to_lowercase());
        at += 1 + length;
    }
}
