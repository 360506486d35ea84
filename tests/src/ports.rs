//! Ports that nobody else takes between choosing them and listening on them.
//!
//! Asking the kernel for a free port and closing it again gives a port from the ephemeral range, which any outgoing connection of a
//! load test may take a moment later. So ports come from below that range, and each one that is in use by this harness is held by a
//! lock on a file, which the kernel releases however the process ends.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context as _, Result, bail};

/// Below Linux's ephemeral range (32768 and up), above what services of a development machine usually take.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port on 127.0.0.1, kept until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: Option<File>,
}

impl Port {
    /// A free one.
    pub fn free() -> Result<Self> {
        let locks = std::env::temp_dir().join("spillway-test-ports");
        fs::create_dir_all(&locks).with_context(|| format!("cannot create {}", locks.display()))?;
        // Processes start their search at different places, so that they rarely meet.
        let start = u16::try_from(u64::from(std::process::id()) * 37 % u64::from(COUNT)).unwrap_or(0);
        for step in 0..COUNT {
            let number = FIRST + (start + step) % COUNT;
            let path = locks.join(number.to_string());
            let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error).context("cannot lock a port"),
            }
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: Some(lock) });
            }
        }
        bail!("every port from {FIRST} to {} is taken", FIRST + (COUNT - 1))
    }

    /// One that the user chose; an error if something listens there already.
    pub fn given(number: u16) -> Result<Self> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, number))
            .with_context(|| format!("port {number} is not free"))?;
        Ok(Self { number, _lock: None })
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// On 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_port_is_given_twice_while_it_is_held() {
        let ports: Vec<_> = (0..50).map(|_| Port::free().unwrap()).collect();
        let numbers: BTreeSet<_> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_port_that_is_listened_on_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        assert!(Port::given(number).unwrap_err().to_string().contains("is not free"));
    }
}
