use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

/// An authority, and what it has signed, in a folder.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.issue("first");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self) -> Files {
        Files {
            certificate: self.path("tls.crt"),
            key: self.path("tls.key"),
            client_ca: Some(self.path("ca.crt")),
        }
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Writes a new authority, and a certificate for `name` with its key.
    fn issue(&self, name: &str) {
        let authority = Self::authority();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        fs::write(self.path("ca.crt"), authority.pem()).unwrap();
        fs::write(self.path("tls.key"), key.serialize_pem()).unwrap();
        fs::write(self.path("tls.crt"), certificate.pem()).unwrap();
    }
}

#[test]
fn new_files_are_in_force_as_soon_as_they_are_seen() {
    let folder = Folder::new();
    let (tls, mut rotation) = ServerTls::load(folder.files()).unwrap();
    let first = tls.config();
    assert!(!tls.look(&mut rotation).unwrap());
    assert!(Arc::ptr_eq(&first, &tls.config()), "a connection made before keeps what the next one gets too");
    folder.issue("second");
    assert!(tls.look(&mut rotation).unwrap());
    assert!(!Arc::ptr_eq(&first, &tls.config()));
    assert!(!tls.look(&mut rotation).unwrap());
}

#[test]
fn files_that_do_not_fit_together_keep_the_old_ones_and_are_reported_once_they_stay() {
    let folder = Folder::new();
    let (tls, mut rotation) = ServerTls::load(folder.files()).unwrap();
    let first = tls.config();
    // The key of another certificate: half of a rotation, or a mistake. Only time tells.
    fs::write(folder.path("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(!tls.look(&mut rotation).unwrap());
    let error = tls.look(&mut rotation).unwrap_err();
    assert!(matches!(error, TlsError::Unusable { .. }), "{error:?}");
    assert!(!tls.look(&mut rotation).unwrap(), "reported twice");
    assert!(Arc::ptr_eq(&first, &tls.config()));
    // Another mistake is another report, and a good pair ends it.
    fs::remove_file(folder.path("tls.key")).unwrap();
    assert!(!tls.look(&mut rotation).unwrap());
    let error = tls.look(&mut rotation).unwrap_err();
    assert!(matches!(&error, TlsError::Unreadable { path, .. } if path.ends_with("tls.key")), "{error:?}");
    assert!(Arc::ptr_eq(&first, &tls.config()));
    folder.issue("third");
    assert!(tls.look(&mut rotation).unwrap());
    assert!(!Arc::ptr_eq(&first, &tls.config()));
}

#[test]
fn what_is_no_certificate_is_refused_with_its_file() {
    type Expected = fn(&TlsError) -> bool;
    let cases: [(&str, &str, Expected); 4] = [
        ("tls.crt", "nonsense", |error| matches!(error, TlsError::NotPem { expected: "a certificate", .. })),
        ("tls.key", "nonsense", |error| matches!(error, TlsError::NotPem { expected: "a private key", .. })),
        ("ca.crt", "", |error| matches!(error, TlsError::NotPem { expected: "a certificate", .. })),
        ("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", |error| {
            matches!(error, TlsError::ClientCa { .. })
        }),
    ];
    for (file, text, expected) in cases {
        let folder = Folder::new();
        fs::write(folder.path(file), text).unwrap();
        let error = ServerTls::load(folder.files()).unwrap_err();
        assert!(expected(&error), "{file}: {error:?}");
        assert!(error.to_string().contains(file), "{error}");
    }
}
