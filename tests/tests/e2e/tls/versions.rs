//! Which versions of TLS are spoken, asked by a library of others: Python's.

use std::process::Command;

use anyhow::{Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::scene::Scene;

use super::{SHOP, Site};

#[test]
fn tls_before_1_2_is_refused() -> Result<()> {
    Scene::play(|scene| {
        let site = Site::start(scene, &[])?;
        let expected = [
            ("TLSv1", "TLSV1_ALERT_PROTOCOL_VERSION"),
            ("TLSv1_1", "TLSV1_ALERT_PROTOCOL_VERSION"),
            ("TLSv1_2", "TLSv1.2"),
            ("TLSv1_3", "TLSv1.3"),
        ];
        for (version, agreed) in expected {
            let output = Command::new("python3")
                .arg(artifacts::workspace().join("tests/python/tls_version.py"))
                .args([&site.https.number().to_string(), SHOP])
                .arg(site.file("ca.crt"))
                .arg(version)
                .output()?;
            let told = String::from_utf8_lossy(&output.stdout);
            ensure!(
                told.trim_end() == agreed,
                "{version}: {told}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    })
}
