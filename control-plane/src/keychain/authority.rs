//! Certificates for tests.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Who vouches for certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a name, from yesterday until tomorrow.
    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.issue_for(name, -1, 1)
    }

    /// For a name, from one day until another, counted from now.
    pub(crate) fn issue_for(&self, name: &str, from: i32, to: i32) -> Issued {
        self.sign(name, from, to, &KeyPair::generate().unwrap())
    }

    /// For a name and a key.
    pub(crate) fn sign(&self, name: &str, from: i32, to: i32, key: &KeyPair) -> Issued {
        let day = |days: i32| {
            let distance = DAY * days.unsigned_abs();
            let now = SystemTime::now();
            if days < 0 { now - distance } else { now + distance }.into()
        };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (day(from), day(to));
        let certificate = params.signed_by(key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Issued {
    /// Writes `<name>.crt` and `<name>.key`.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        fs::write(directory.join(format!("{name}.crt")), &self.certificate).unwrap();
        fs::write(directory.join(format!("{name}.key")), &self.key).unwrap();
    }
}
