//! Clients that connect and then don't say what has to come before the first request.

use std::io::Write as _;
use std::net::TcpStream;

use anyhow::{Result, ensure};
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{SHOP, Site};
use crate::listeners::{connect, until_closed};
use crate::text::document;

#[test]
fn neither_a_handshake_nor_a_proxy_header_is_waited_for_longer_than_headers() -> Result<()> {
    Scene::play(|scene| {
        let (secure, behind) = (Port::free()?, Port::free()?);
        let limits = "limits: {requestHeadersTimeout: 1s}";
        let listeners = format!(
            "fleet: edge\nlisteners:\n\
             - {{name: secure, address: 127.0.0.1, port: {}, protocol: HTTPS, tls: {{certificateRefs: [shop]}}, {limits}}}\n\
             - {{name: behind, address: 127.0.0.1, port: {}, protocol: HTTP, clientAddress: {{proxyProtocol: true}}, {limits}}}",
            secure.number(),
            behind.number()
        );
        let hasty =
            [document("Gateway", "hasty", &listeners), super::route("hasty", "{name: hasty}", "alpha")];
        let site = Site::start(scene, &[("hasty.yaml", &hasty.join("---\n"))])?;
        let others = site.client(&secure, SHOP)?;
        wait::until("the listener", || {
            ensure!(others.get("/", &[])?.status == 200);
            Ok(())
        })?;
        // Everything else that could end them takes five minutes.
        let begun = |port: &Port, beginning: &[u8]| -> Result<TcpStream> {
            let mut stream = connect(port)?;
            stream.write_all(beginning)?;
            Ok(stream)
        };
        let silent = [
            begun(&secure, b"")?,
            // The first bytes of a ClientHello.
            begun(&secure, &[0x16, 3, 1, 2, 0, 1, 0])?,
            begun(&behind, b"")?,
            begun(&behind, b"PROXY TCP4 192.0.")?,
        ];
        ensure!(others.get("/", &[])?.status == 200, "others are not served");
        for mut stream in silent {
            let told = until_closed(&mut stream)?;
            ensure!(!told.contains("200"), "{told:?}");
        }
        Ok(())
    })
}
