//! What can be wrong with files. Nothing of their content is ever part of it.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// The field of a Certificate document that names the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `certFile`.
    Certificate,
    /// `keyFile`.
    Key,
    /// `caFile`.
    Ca,
}

impl Field {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certFile",
            Self::Key => "keyFile",
            Self::Ca => "caFile",
        }
    }
}

/// Why files can't be used, one for each that is wrong.
pub type Faults = Vec<(Field, Fault)>;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not there, is none, or may not be read; what the system says.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// More than [`super::file::MAX_BYTES`].
    #[error("is larger than {} MiB", super::file::MAX_BYTES >> 20)]
    TooLarge,
    /// It begins like PEM and goes on as something else.
    #[error("is not PEM from beginning to end")]
    NotPem,
    /// Whatever is in it, it is nothing of that.
    #[error("has no {expected} in PEM")]
    Nothing {
        /// What should be in it.
        expected: &'static str,
    },
    /// The key has to be decrypted first.
    #[error("has an encrypted key, which cannot be used")]
    Encrypted,
    /// One of its certificates is none.
    #[error("has a certificate that cannot be read: {0}")]
    Malformed(String),
    /// A kind of key that proxies do not serve.
    #[error(
        "has a key that proxies cannot serve: expected RSA of 2048 to 4096 bits, or ECDSA on P-256 or P-384"
    )]
    UnusableKey,
    /// The key of another certificate.
    #[error("does not fit the certificate in `certFile`")]
    OtherKey,
    /// When, in seconds since 1970.
    #[error("has expired, on {}", Date(*.0))]
    Expired(i64),
    /// From when, in seconds since 1970.
    #[error("is not valid before {}", Date(*.0))]
    NotYetValid(i64),
}

impl Fault {
    /// What to do about it, where that is not plain.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Encrypted => Some("decrypt it: openssl pkey -in encrypted.key -out plain.key"),
            Self::OtherKey => {
                Some("certFile begins with the certificate itself, and those that vouch for it follow")
            }
            _ => None,
        }
    }
}

/// Seconds since 1970 as a date.
pub(super) struct Date(pub(super) i64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = u64::try_from(self.0).unwrap_or(0);
        match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
            Some(time) => f.write_str(&crate::fleet::time::rfc3339(time)),
            None => write!(f, "{}", self.0),
        }
    }
}
