//! Certificates and keys as proxies get them.

use std::fmt;

use pem::{EncodeConfig, LineEnding, Pem, encode_config};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self as sections, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore, SignatureAlgorithm, sign::CertifiedKey};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Files;
use super::fault::{Fault, Faults, Field};
use super::file;

/// What the files of one Certificate hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// A certificate with its key.
    pub pair: Option<Pair>,
    /// Whose word counts.
    pub authorities: Option<Authorities>,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate and those that vouch for it, in PEM.
    pub chain: String,
    /// The key, in PEM.
    pub(crate) key: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
}

/// Everything but the key.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, key: _, not_before, not_after } = self;
        f.debug_struct("Pair")
            .field("chain", chain)
            .field("not_before", not_before)
            .field("not_after", not_after)
            .finish_non_exhaustive()
    }
}

/// Those whose word is taken for others, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities(pub String);

impl Material {
    /// Reads files. What is in force is not looked at, and neither is the time.
    pub(super) fn read(files: &Files) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        let pair = files.pair.as_ref().and_then(|(certificate, key)| {
            let chain = file::read(certificate).and_then(|text| certificates(&text));
            let key = file::read(key).and_then(|text| private_key(&text));
            match (chain, key) {
                (Ok(chain), Ok(key)) => pair(&chain, &key).map_err(|fault| faults.push(fault)).ok(),
                (chain, key) => {
                    faults.extend(chain.err().map(|fault| (Field::Certificate, fault)));
                    faults.extend(key.err().map(|fault| (Field::Key, fault)));
                    None
                }
            }
        });
        let ca = files.ca.as_ref().map(|path| file::read(path).and_then(|text| authorities(&text)));
        let authorities = ca.and_then(|ca| ca.map_err(|fault| faults.push((Field::Ca, fault))).ok());
        if faults.is_empty() { Ok(Self { pair, authorities }) } else { Err(faults) }
    }

    /// Whether it is valid at a time, in seconds since 1970.
    pub(super) fn check_time(&self, now: i64) -> Result<(), Faults> {
        let fault = |pair: &Pair| match pair {
            Pair { not_after, .. } if *not_after < now => Some(Fault::Expired(*not_after)),
            Pair { not_before, .. } if *not_before > now => Some(Fault::NotYetValid(*not_before)),
            _ => None,
        };
        let fault = self.pair.as_ref().and_then(fault);
        fault.map_or(Ok(()), |fault| Err(vec![(Field::Certificate, fault)]))
    }
}

/// Only these parts of a file are used: whatever else stands in it, comments or a forgotten key, never leaves it.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    // What is wrong with PEM is not quoted: the line may be one of a key.
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|_| Fault::NotPem)?;
    if found.is_empty() { Err(Fault::Nothing { expected: "certificate" }) } else { Ok(found) }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        sections::Error::NoItemsFound if is_encrypted(text) => Fault::Encrypted,
        sections::Error::NoItemsFound => Fault::Nothing { expected: "private key" },
        _ => Fault::NotPem,
    })
}

fn is_encrypted(text: &[u8]) -> bool {
    let marker = b"ENCRYPTED";
    text.windows(marker.len()).any(|window| window == marker)
}

fn pair(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<Pair, (Field, Fault)> {
    let Some(first) = chain.first() else {
        return Err((Field::Certificate, Fault::Nothing { expected: "certificate" }));
    };
    for certificate in chain {
        parse(certificate).map_err(|fault| (Field::Certificate, fault))?;
    }
    let (_, parsed) = X509Certificate::from_der(first)
        .map_err(|error| (Field::Certificate, Fault::Malformed(error.to_string())))?;
    let provider = ring::default_provider();
    let certified = CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &provider);
    let certified = certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => (Field::Key, Fault::OtherKey),
        rustls::Error::InvalidCertificate(error) => {
            (Field::Certificate, Fault::Malformed(format!("{error:?}")))
        }
        _ => (Field::Key, Fault::UnusableKey),
    })?;
    // What rustls could serve and Envoy can't.
    if !matches!(certified.key.algorithm(), SignatureAlgorithm::RSA | SignatureAlgorithm::ECDSA) {
        return Err((Field::Key, Fault::UnusableKey));
    }
    let tag = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Ok(Pair {
        chain: chain.iter().map(|certificate| encode("CERTIFICATE", certificate)).collect(),
        key: encode(tag, key.secret_der()),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

fn parse(certificate: &CertificateDer<'_>) -> Result<(), Fault> {
    let malformed = |error: &dyn fmt::Display| Fault::Malformed(error.to_string());
    match X509Certificate::from_der(certificate) {
        Ok(([], _)) => Ok(()),
        Ok(_) => Err(malformed(&"something follows it")),
        Err(error) => Err(malformed(&error)),
    }
}

fn authorities(text: &[u8]) -> Result<Authorities, Fault> {
    let found = certificates(text)?;
    let mut roots = RootCertStore::empty();
    let mut pem = String::new();
    for certificate in found {
        parse(&certificate)?;
        pem.push_str(&encode("CERTIFICATE", &certificate));
        roots.add(certificate).map_err(|error| Fault::Malformed(format!("{error:?}")))?;
    }
    Ok(Authorities(pem))
}

fn encode(tag: &str, der: &[u8]) -> String {
    encode_config(&Pem::new(tag, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}
