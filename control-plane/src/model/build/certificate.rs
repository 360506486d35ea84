//! What has to hold for a Certificate, and for what refers to one.

use super::{Check, steps};
use crate::document::kind::{BackendTls, Certificate, Gateway, Kind, Listener, Spec};
use crate::document::{Document, Step};
use crate::keychain::{Fault, Field, Files};

pub(super) fn check(check: &mut Check<'_>, document: &Document, certificate: &Certificate) {
    let Certificate { cert_file, key_file, ca_file } = certificate;
    let spec = steps!["spec"];
    if !document.is_sound(spec, &["certFile", "keyFile", "caFile"]) {
        return;
    }
    let missing = match (cert_file, key_file, ca_file) {
        (Some(_), None, _) => Some("keyFile"),
        (None, Some(_), _) => Some("certFile"),
        _ => None,
    };
    if let Some(missing) = missing {
        let message = format!("certFile and keyFile belong together: {missing} is missing");
        return check.report(document, spec, message, None);
    }
    if cert_file.is_none() && ca_file.is_none() {
        let message = "a Certificate needs certFile and keyFile, or caFile, or all of them";
        return check.report(document, spec, message, None);
    }
    let faults = check.keychain.look(&Files::of(certificate, document.directory())).err();
    for (field, fault) in faults.into_iter().flatten() {
        report(check, document, certificate, field, &fault);
    }
}

fn report(
    check: &mut Check<'_>,
    document: &Document,
    certificate: &Certificate,
    field: Field,
    fault: &Fault,
) {
    let file = match field {
        Field::Certificate => &certificate.cert_file,
        Field::Key => &certificate.key_file,
        Field::Ca => &certificate.ca_file,
    };
    let path = document.directory().join(file.as_deref().unwrap_or_default());
    let message = format!("{} {fault}", path.display());
    check.report(document, steps!["spec", field.name()], message, fault.help().map(str::to_owned));
}

/// What a reference needs of a Certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Pair,
    Authorities,
}

fn refers(check: &mut Check<'_>, document: &Document, path: &[Step], name: &str, need: Need) {
    let Some(target) = check.find(Kind::Certificate, name) else {
        // It may be one that cannot be read.
        if !check.has_nameless {
            let names = check.all(Kind::Certificate).map(|document| document.name.as_str());
            let help = check.suggest(name, names);
            check.report(document, path, format!("there is no Certificate `{name}`"), help);
        }
        return;
    };
    let Some(Spec::Certificate(certificate)) = &target.spec else { return };
    let (has, field) = match need {
        Need::Pair => (certificate.cert_file.is_some(), "certFile"),
        Need::Authorities => (certificate.ca_file.is_some(), "caFile"),
    };
    if !has && !target.has_errors {
        check.report(document, path, format!("the Certificate `{name}` has no {field}"), None);
    }
}

/// Listeners and the Certificates that they name.
pub(super) fn gateway(check: &mut Check<'_>, document: &Document, gateway: &Gateway) {
    for (i, listener) in gateway.listeners.iter().enumerate() {
        if document.is_sound(steps!["spec", "listeners", i], &["protocol", "tls"]) {
            self::listener(check, document, i, listener);
        }
    }
}

fn listener(check: &mut Check<'_>, document: &Document, i: usize, listener: &Listener) {
    let path = steps!["spec", "listeners", i, "tls"];
    let secure = listener.protocol.is_secure();
    let Some(tls) = &listener.tls else {
        if secure {
            let message = "a listener that speaks TLS needs a certificate: tls: {certificateRefs: [...]}";
            check.report(document, steps!["spec", "listeners", i, "protocol"], message, None);
        }
        return;
    };
    if !secure {
        let help = "write protocol: HTTPS, or TLS for what is not HTTP".to_owned();
        return check.report(document, path, "the listener's protocol has no TLS", Some(help));
    }
    let list = [path, steps!["certificateRefs"]].concat();
    if tls.certificate_refs.is_empty() {
        check.report(document, &list, "at least one Certificate is needed", None);
    }
    for (j, name) in tls.certificate_refs.iter().enumerate() {
        refers(check, document, &[&list[..], steps![j]].concat(), name, Need::Pair);
    }
    let names = tls.certificate_refs.iter().enumerate();
    check.unique(
        document,
        names.map(|(j, name)| (name.as_str(), [&list[..], steps![j]].concat())),
        &[],
        |name| format!("there is a reference to `{name}` already"),
    );
    if let Some(name) = &tls.client_ca {
        refers(check, document, &[path, steps!["clientCa"]].concat(), name, Need::Authorities);
    }
}

/// A Backend's TLS and the Certificates that it names.
pub(super) fn backend(check: &mut Check<'_>, document: &Document, tls: &BackendTls) {
    let BackendTls { ca_ref, certificate_ref, sni, subject_alt_names } = tls;
    let path = steps!["spec", "tls"];
    if !document.is_sound(steps!["spec"], &["tls"]) {
        return;
    }
    refers(check, document, &[path, steps!["caRef"]].concat(), ca_ref, Need::Authorities);
    if let Some(name) = certificate_ref {
        refers(check, document, &[path, steps!["certificateRef"]].concat(), name, Need::Pair);
    }
    if sni.is_none() && subject_alt_names.is_empty() {
        let message = "sni or subjectAltNames is needed: without a name any certificate that caRef vouches for would do, whoever has it";
        check.report(document, path, message, None);
    }
}
