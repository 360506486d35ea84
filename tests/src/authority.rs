//! Certificates of every kind, made when a test needs them: none are kept anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// Who signs certificates, and the folder in which they are written.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// From when until when a certificate is valid, in seconds from now.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime(pub i64, pub i64);

impl Lifetime {
    /// Since yesterday, and for longer than any test takes.
    pub const NOW: Self = Self(-86_400, 30 * 86_400);
    /// Until yesterday.
    pub const PAST: Self = Self(-2 * 86_400, -86_400);
}

impl Authority {
    /// A new one, whose own certificate is `ca.crt`.
    pub fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::create_dir_all(folder)?;
        fs::write(folder.join("ca.crt"), issuer.pem())?;
        Ok(Self { issuer, folder: folder.to_owned() })
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes a certificate for `name` and its key, as `<file>.crt` and `<file>.key`.
    pub fn issue(&self, file: &str, name: &str) -> Result<()> {
        self.issue_for(file, &[name], Lifetime::NOW).map(drop)
    }

    /// Writes a certificate for names and a time, and its key. A name with `://` is a URI. Gives the certificate in DER.
    pub fn issue_for(&self, file: &str, names: &[&str], lifetime: Lifetime) -> Result<Vec<u8>> {
        self.issue_into(&self.folder, file, names, lifetime)
    }

    /// The same in another folder.
    pub fn issue_into(
        &self,
        folder: &Path,
        file: &str,
        names: &[&str],
        Lifetime(from, to): Lifetime,
    ) -> Result<Vec<u8>> {
        let key = KeyPair::generate()?;
        let (uris, hosts): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        // By default everything has the same name, and whoever is named as its issuer counts as self-signed.
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or_default());
        (params.not_before, params.not_after) = (moment(from).into(), moment(to).into());
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(folder.join(format!("{file}.crt")), certificate.pem())?;
        fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
        Ok(certificate.der().to_vec())
    }

    /// The path of one of its files.
    pub fn path(&self, file: &str) -> Result<String> {
        Ok(self.folder.join(file).to_str().context("a path that is not UTF-8")?.to_owned())
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    if seconds < 0 { now - distance } else { now + distance }
}
