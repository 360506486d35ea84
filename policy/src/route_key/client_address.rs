//! The client's address as a key: without its port, in its shortest form, and cut to a prefix where one is given.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Appends `address` as `192.0.2.1`, or with a prefix as the network it is in, `192.0.2.0/24`. A prefix longer than the address keeps all of it. An IPv4 address
/// that is written as an IPv6 one (`::ffff:192.0.2.1`) is an IPv4 address. What is no IP address (a Unix socket's path) gives nothing.
pub(super) fn append(address: &[u8], prefix: Option<u8>, key: &mut Vec<u8>) {
    let Some(address) = parse(address) else { return };
    // Writing to a Vec can't fail.
    let _ = match (prefix, address) {
        (None, address) => write!(key, "{address}"),
        (Some(prefix), IpAddr::V4(address)) => {
            let kept = u32::from(prefix).min(32);
            let mask = u32::MAX.checked_shl(32 - kept).unwrap_or(0);
            write!(key, "{}/{kept}", std::net::Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        (Some(prefix), IpAddr::V6(address)) => {
            let kept = u32::from(prefix).min(128);
            let mask = u128::MAX.checked_shl(128 - kept).unwrap_or(0);
            write!(key, "{}/{kept}", std::net::Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    };
}

fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    text.parse::<IpAddr>().or_else(|_| with_port()).ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str, prefix: Option<u8>) -> String {
        let mut key = Vec::new();
        append(address.as_bytes(), prefix, &mut key);
        String::from_utf8(key).unwrap()
    }

    #[test]
    fn the_port_does_not_count() {
        for address in ["192.0.2.7", "192.0.2.7:80", "[::ffff:192.0.2.7]:443", "::ffff:192.0.2.7"] {
            assert_eq!(key(address, None), "192.0.2.7", "{address}");
        }
        for address in ["2001:db8::1", "[2001:db8::1]:443", "2001:DB8:0:0::1"] {
            assert_eq!(key(address, None), "2001:db8::1", "{address}");
        }
    }

    #[test]
    fn a_prefix_keeps_the_network() {
        assert_eq!(key("192.0.2.77:1", Some(24)), "192.0.2.0/24");
        assert_eq!(key("192.0.2.77:1", Some(32)), "192.0.2.77/32");
        assert_eq!(key("192.0.2.77:1", Some(64)), "192.0.2.77/32", "longer than the address");
        assert_eq!(key("192.0.2.77:1", Some(0)), "0.0.0.0/0");
        assert_eq!(key("[2001:db8:1:2:3::4]:1", Some(64)), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8::1", Some(0)), "::/0");
        assert_eq!(key("2001:db8::1", Some(128)), "2001:db8::1/128");
    }

    #[test]
    fn what_is_no_address_gives_nothing() {
        for address in ["", "unix:/run/x", "192.0.2", "192.0.2.7:", "[::1", "192.0.2.7:80:80", "\u{e9}"] {
            assert_eq!(key(address, Some(24)), "", "{address}");
        }
        let mut key = Vec::new();
        append(b"\xff\xfe", None, &mut key);
        assert!(key.is_empty());
    }
}
