use std::fs;

use rcgen::KeyPair;

use super::authority::{Authority, Issued};
use super::*;

/// A folder with the files of one Certificate.
struct Folder(tempfile::TempDir, Authority);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap(), Authority::new());
        folder.1.issue("first.example").write(folder.0.path(), "tls");
        fs::write(folder.path("ca.crt"), folder.1.pem()).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self) -> Files {
        let certificate = kind::Certificate {
            cert_file: Some("tls.crt".into()),
            key_file: Some("tls.key".into()),
            ca_file: Some("ca.crt".into()),
        };
        Files::of(&certificate, self.0.path())
    }

    fn faults(&self) -> Faults {
        Keychain::new(Reading::Strict).look(&self.files()).unwrap_err()
    }

    fn install(&self, issued: &Issued) {
        issued.write(self.0.path(), "tls");
    }
}

fn opened(folder: &Folder) -> (Keychain, Arc<Material>) {
    let keychain = Keychain::new(Reading::Strict);
    let material = keychain.look(&folder.files()).unwrap().unwrap();
    (keychain, material)
}

fn only_change(keychain: &Keychain) -> Option<Change> {
    let mut changes = keychain.rotate();
    assert!(changes.len() <= 1);
    changes.pop().map(|(_, change)| change)
}

#[test]
fn what_is_in_the_files_is_held_and_nothing_else_of_them() {
    let folder = Folder::new();
    let issued = folder.1.issue("a.example");
    folder.install(&Issued {
        certificate: format!("a note\n{}{}", issued.certificate, issued.key),
        key: format!("another\n{}", issued.key),
    });
    let (_, material) = opened(&folder);
    let pair = material.pair.as_ref().unwrap();
    assert_eq!(pair.chain, issued.certificate.replace("\r\n", "\n"));
    assert_eq!(pair.key, issued.key.replace("\r\n", "\n"));
    assert_eq!(material.authorities.as_ref().unwrap().0, folder.1.pem().replace("\r\n", "\n"));
    let lifetime = pair.not_after - pair.not_before;
    assert_eq!(lifetime, 2 * 24 * 60 * 60);
}

#[test]
fn a_key_is_not_shown() {
    let (keychain, material) = opened(&Folder::new());
    let key = material.pair.as_ref().unwrap().key.clone();
    let line = key.lines().nth(1).unwrap();
    for shown in [format!("{keychain:?}"), format!("{material:#?}")] {
        assert!(shown.contains("BEGIN CERTIFICATE"));
        assert!(!shown.contains("PRIVATE KEY") && !shown.contains(line), "{shown}");
    }
}

#[test]
fn every_kind_of_fault_is_told_with_the_field_that_names_the_file() {
    let folder = Folder::new();
    let other = folder.1.issue("other.example");
    let ed25519 = folder.1.sign("e.example", -1, 1, &KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let good = folder.1.issue("good.example");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = good.key.get(..good.key.len() / 2).unwrap();
    let pairs: [(&str, &str, Field, &str); 9] = [
        ("", &good.key, Field::Certificate, "has no certificate in PEM"),
        (&good.key, &good.key, Field::Certificate, "has no certificate in PEM"),
        (no_der, &good.key, Field::Certificate, "has a certificate that cannot be read: "),
        (&good.certificate, "", Field::Key, "has no private key in PEM"),
        (&good.certificate, cut, Field::Key, "is not PEM from beginning to end"),
        (&good.certificate, encrypted, Field::Key, "has an encrypted key, which cannot be used"),
        (&good.certificate, &other.key, Field::Key, "does not fit the certificate in `certFile`"),
        (&ed25519.certificate, &ed25519.key, Field::Key, "has a key that proxies cannot serve: "),
        (&good.certificate, &"#".repeat((1 << 20) + 1), Field::Key, "is larger than 1 MiB"),
    ];
    for (certificate, key, field, message) in pairs {
        folder.install(&Issued { certificate: certificate.to_owned(), key: key.to_owned() });
        let faults = folder.faults();
        let [(found, fault)] = faults.as_slice() else { panic!("{message}: {faults:?}") };
        assert_eq!(*found, field, "{fault}");
        assert!(fault.to_string().starts_with(message), "{fault}");
    }
    folder.install(&good);
    fs::write(folder.path("ca.crt"), &good.key).unwrap();
    assert_eq!(folder.faults(), [(Field::Ca, Fault::Nothing { expected: "certificate" })]);
    fs::remove_file(folder.path("ca.crt")).unwrap();
    fs::remove_file(folder.path("tls.crt")).unwrap();
    fs::create_dir(folder.path("tls.crt")).unwrap();
    let faults = folder.faults();
    assert_eq!(faults.len(), 2, "all files are looked at: {faults:?}");
    for (_, fault) in faults {
        assert!(fault.to_string().starts_with("cannot be read: "), "{fault}");
    }
}

#[test]
fn nothing_of_a_file_is_quoted() {
    let folder = Folder::new();
    let good = folder.1.issue("good.example");
    // The marks of PEM damaged in every way that shows: what is reported must not have a line of the key.
    let secret = "c2VjcmV0";
    let damaged = [
        format!("-----BEGIN {secret}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END {secret}-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}!\n-----END PRIVATE KEY-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"),
    ];
    for text in damaged {
        folder.install(&Issued { certificate: good.certificate.clone(), key: text.clone() });
        let shown = format!("{:?}", folder.faults());
        assert!(!shown.contains(secret), "{text}: {shown}");
        folder.install(&Issued { certificate: text, key: good.key.clone() });
        let shown = format!("{:?}", folder.faults());
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_certificate_outside_its_time_is_refused_but_not_at_the_start() {
    let folder = Folder::new();
    folder.install(&folder.1.issue_for("old.example", -9, -2));
    assert!(matches!(folder.faults()[..], [(Field::Certificate, Fault::Expired(_))]));
    let text = folder.faults()[0].1.to_string();
    assert!(text.starts_with("has expired, on 20") && text.ends_with('Z'), "{text}");
    assert!(Keychain::new(Reading::Starting).look(&folder.files()).is_ok());
    folder.install(&folder.1.issue_for("new.example", 2, 9));
    assert!(matches!(folder.faults()[..], [(Field::Certificate, Fault::NotYetValid(_))]));
}

#[test]
fn nothing_is_read_where_only_documents_matter() {
    let missing = Files { pair: None, ca: Some("/nonexistent".into()) };
    assert_eq!(Keychain::default().look(&missing).unwrap(), None);
    assert!(Keychain::new(Reading::Strict).look(&missing).is_err());
}

#[test]
fn new_files_take_the_place_of_old_ones_once_they_fit_together() {
    let folder = Folder::new();
    let (keychain, first) = opened(&folder);
    assert_eq!(only_change(&keychain), None);
    let second = folder.1.issue("second.example");
    fs::write(folder.path("tls.crt"), &second.certificate).unwrap();
    // The key is not there yet: for one look nothing is said, then once.
    assert_eq!(only_change(&keychain), None);
    let refused = Change::Refused(vec![(Field::Key, Fault::OtherKey)]);
    assert_eq!(only_change(&keychain), Some(refused));
    assert_eq!(only_change(&keychain), None);
    assert_eq!(keychain.get(&folder.files()), Some(Arc::clone(&first)));
    fs::write(folder.path("tls.key"), &second.key).unwrap();
    assert_eq!(only_change(&keychain), Some(Change::Replaced));
    let now = keychain.get(&folder.files()).unwrap();
    assert_ne!(now, first);
    assert_eq!(keychain.look(&folder.files()).unwrap(), Some(now));
}

#[test]
fn files_that_break_and_come_back_are_told_as_mended() {
    let folder = Folder::new();
    let (keychain, first) = opened(&folder);
    let text = fs::read(folder.path("tls.key")).unwrap();
    fs::remove_file(folder.path("tls.key")).unwrap();
    assert_eq!(only_change(&keychain), None);
    assert!(matches!(only_change(&keychain), Some(Change::Refused(_))));
    fs::write(folder.path("tls.key"), text).unwrap();
    assert_eq!(only_change(&keychain), Some(Change::Mended));
    assert_eq!(only_change(&keychain), None);
    assert_eq!(keychain.get(&folder.files()), Some(first));
}

#[test]
fn an_expired_certificate_takes_the_place_of_nothing() {
    let folder = Folder::new();
    let (keychain, first) = opened(&folder);
    folder.install(&folder.1.issue_for("old.example", -9, -2));
    assert_eq!(only_change(&keychain), None);
    assert!(matches!(only_change(&keychain), Some(Change::Refused(_))));
    assert_eq!(keychain.get(&folder.files()), Some(first));
}

#[test]
fn what_expires_in_force_stays_even_if_another_file_beside_it_is_replaced() {
    let folder = Folder::new();
    let old = folder.1.issue_for("old.example", -9, -2);
    folder.install(&old);
    let mut keychain = Keychain::new(Reading::Starting);
    let first = keychain.look(&folder.files()).unwrap();
    keychain.set_reading(Reading::Strict);
    // The same content, written again.
    folder.install(&old);
    assert_eq!(only_change(&keychain), None);
    assert_eq!(keychain.look(&folder.files()).unwrap(), first);
}

#[test]
fn links_that_lead_elsewhere_are_a_change() {
    let folder = Folder::new();
    let (one, two) = (folder.path("..one"), folder.path("..two"));
    for (directory, name) in [(&one, "one.example"), (&two, "two.example")] {
        fs::create_dir(directory).unwrap();
        folder.1.issue(name).write(directory, "tls");
    }
    // As a cluster mounts a Secret: files that are links through a link, which is replaced in one step.
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, folder.path("..draft")).unwrap();
        fs::rename(folder.path("..draft"), folder.path("..data")).unwrap();
    };
    link("..one");
    for file in ["tls.crt", "tls.key"] {
        fs::remove_file(folder.path(file)).unwrap();
        std::os::unix::fs::symlink(format!("..data/{file}"), folder.path(file)).unwrap();
    }
    let (keychain, first) = opened(&folder);
    link("..two");
    assert_eq!(only_change(&keychain), Some(Change::Replaced));
    assert_ne!(keychain.get(&folder.files()), Some(first));
}

#[test]
fn files_that_no_document_names_are_forgotten() {
    let folder = Folder::new();
    let (keychain, _) = opened(&folder);
    keychain.retain(|files| *files == folder.files());
    assert!(keychain.get(&folder.files()).is_some());
    keychain.retain(|_| false);
    assert!(keychain.get(&folder.files()).is_none());
}
