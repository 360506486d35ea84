//! Certificates replaced while wrk and h2load handshake and ask without a break, seen by OpenSSL.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::authority::Lifetime;
use spillway_tests::debian::Program;
use spillway_tests::envoy::Envoy;
use spillway_tests::generators::{Generator, beside};
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{SHOP, Site};
use crate::text::document;

/// The certificate that OpenSSL is shown, in PEM, once it has verified it.
fn shown(site: &Site, address: SocketAddr) -> Result<String> {
    let output = Program::find("openssl", "openssl", "SPILLWAY_OPENSSL")?
        .command()
        .args(["s_client", "-connect", &address.to_string(), "-servername", SHOP])
        .args(["-verify_return_error", "-verify_hostname", SHOP, "-CAfile"])
        .arg(site.file("ca.crt"))
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() && told.contains("Verify return code: 0 (ok)"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (_, rest) = told.split_once("-----BEGIN CERTIFICATE-----").context("no certificate")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").context("half a certificate")?;
    Ok(body.split_whitespace().collect())
}

#[test]
fn certificates_replaced_on_two_envoys_fail_no_request_and_no_handshake() -> Result<()> {
    Scene::play(|scene| {
        let site = Site::start(scene, &[])?;
        let world = &site.world;
        let (secure, admin) = (Port::free()?, Port::free()?);
        let gateway = format!(
            "fleet: second\nlisteners: [{{name: https, address: 127.0.0.1, port: {}, protocol: HTTPS, tls: {{certificateRefs: [shop]}}}}]",
            secure.number()
        );
        world.documents.write("second.yaml", &document("Gateway", "second", &gateway))?;
        let parents = "{name: secure, sectionName: mutual}";
        world.documents.edit("tls.yaml", &[parents], &[&format!("{parents}, {{name: second}}")])?;
        let bootstrap = scene.folder().join("second.yaml");
        world.control_plane.bootstrap("second", &admin, &bootstrap, &[])?;
        let _second = Envoy::start(&world.client, &bootstrap, &admin, 2, &scene.log("second"))?;
        let addresses = [site.https.address(), secure.address()];
        for port in [&site.https, &secure] {
            let client = site.client(port, SHOP)?;
            wait::until("answers over TLS", || {
                ensure!(client.get("/", &[])?.status == 200);
                Ok(())
            })?;
        }
        let urls = addresses.map(|address| format!("https://{address}/"));
        let loads: Vec<_> = urls
            .iter()
            .flat_map(|url| [(Generator::WrkReconnecting, url.as_str()), (Generator::H2load, url.as_str())])
            .collect();
        let ((), answered) = beside(&loads, || {
            for _ in 0..4 {
                site.authority.issue_for("shop", &[SHOP], Lifetime::NOW)?;
                let new = fs::read_to_string(site.file("shop.crt"))?;
                let new: String = new.lines().filter(|line| !line.starts_with("-----")).collect();
                for address in addresses {
                    wait::until("the new certificate", || {
                        // Twice, for the two workers.
                        ensure!(shown(&site, address)? == new && shown(&site, address)? == new, "an old one");
                        Ok(())
                    })?;
                }
            }
            Ok(())
        })?;
        println!("answered, and none otherwise than well: {answered:?}");
        ensure!(answered.iter().all(|count| *count > 0), "{answered:?}");
        Ok(())
    })
}
