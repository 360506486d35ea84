//! TLS towards clients and upstreams: which certificate is shown to whom, who has to show one, and what happens when files are replaced.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::authority::{Authority, Lifetime};
use spillway_tests::https::{Https, Reply};
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::document;
use crate::world::World;

mod bad_ends;
mod constant_load;
mod grpc;
mod silence;
mod versions;

/// The name of the certificate that most tests are about.
const SHOP: &str = "shop.example.com";

/// Who the Certificate `client` says it is.
const CLIENT: &str = "spiffe://shop/edge";

/// A [`World`] with a second Gateway whose listeners speak TLS.
///
/// The first Gateway's plain listener sends everything, over TLS and with a certificate, to the listener `mutual`, which sends it to alpha.
struct Site {
    world: World,
    authority: Authority,
    https: Port,
    mutual: Port,
    bytes: Port,
}

impl Site {
    fn start(scene: &Scene, more: &[(&str, &str)]) -> Result<Self> {
        let (https, mutual, bytes) = (Port::free()?, Port::free()?, Port::free()?);
        // The files are beside the documents, and the documents say so.
        let keys = scene.folder().join("documents/keys");
        let authority = Authority::new(&keys)?;
        authority.issue("shop", SHOP)?;
        authority.issue("wild", "*.example.org")?;
        authority.issue_for("client", &[CLIENT], Lifetime::NOW)?;
        let listeners = format!(
            "fleet: edge\nlisteners:\n\
             - {{name: https, address: 127.0.0.1, port: {}, protocol: HTTPS, tls: {{certificateRefs: [shop, wild]}}}}\n\
             - {{name: mutual, address: 127.0.0.1, port: {}, protocol: HTTPS, tls: {{certificateRefs: [shop], clientCa: partners}}}}\n\
             - {{name: bytes, address: 127.0.0.1, port: {}, protocol: TLS, tls: {{certificateRefs: [shop]}}}}",
            https.number(),
            mutual.number(),
            bytes.number()
        );
        let pair = |name: &str| {
            let spec = format!("certFile: keys/{name}.crt\nkeyFile: keys/{name}.key");
            document("Certificate", name, &spec)
        };
        let inner = format!(
            "endpoints: [{{address: 127.0.0.1, port: {}}}]\ntls: {{caRef: partners, certificateRef: client, sni: {SHOP}}}",
            mutual.number()
        );
        let documents = [
            document("Gateway", "secure", &listeners),
            pair("shop"),
            pair("wild"),
            pair("client"),
            document("Certificate", "partners", "caFile: keys/ca.crt"),
            document("Backend", "inner", &inner),
            route("plain", "{name: edge}", "inner"),
            route("safe", "{name: secure, sectionName: https}, {name: secure, sectionName: mutual}", "alpha"),
        ];
        let text = documents.join("---\n");
        let files: Vec<_> = [("tls.yaml", text.as_str())].into_iter().chain(more.iter().copied()).collect();
        let site = Self { world: World::start(scene, &files)?, authority, https, mutual, bytes };
        wait::until("answers over TLS", || {
            for port in [&site.https, &site.https, &site.https] {
                ensure!(site.client(port, SHOP)?.get("/", &[])?.status == 200, "not yet");
            }
            Ok(())
        })?;
        Ok(site)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.authority.folder().join(name)
    }

    /// A client without a certificate.
    fn client(&self, port: &Port, name: &str) -> Result<Https> {
        Https::new(&self.world.client, port.address(), name, &self.file("ca.crt"))
    }

    fn known(&self, port: &Port, name: &str) -> Result<Https> {
        let (certificate, key) = (self.file("client.crt"), self.file("client.key"));
        Https::known(&self.world.client, port.address(), name, &self.file("ca.crt"), &certificate, &key)
    }

    /// How often the control plane has logged something.
    fn logged(&self, message: &str) -> usize {
        self.world.control_plane.output().matches(message).count()
    }

    fn is_logged(&self, message: &str, times: usize) -> Result<()> {
        wait::until(&format!("the message {message:?}"), || {
            ensure!(self.logged(message) >= times, "logged {} times", self.logged(message));
            Ok(())
        })
    }
}

fn route(name: &str, parents: &str, backend: &str) -> String {
    let rules =
        format!("parentRefs: [{parents}]\nrules: [{{name: all, backendRefs: [{{name: {backend}}}]}}]");
    document("Route", name, &rules)
}

/// What the upstream was told in a header.
fn told(reply: &Reply, header: &str) -> Result<Option<String>> {
    let echo: Value = serde_json::from_str(&reply.body).with_context(|| reply.body.clone())?;
    Ok(echo.pointer(&format!("/headers/{header}/0")).and_then(Value::as_str).map(str::to_owned))
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_a_client_asks_for() -> Result<()> {
    Scene::play(|scene| {
        let policy = document(
            "TrafficPolicy",
            "keys",
            "targetRefs: [{kind: Gateway, name: secure}]\nrouteKey: [{sni: true}]",
        );
        let site = Site::start(scene, &[("policy.yaml", &policy)])?;
        for name in [SHOP, "one.example.org", "two.example.org"] {
            for (offered, is_http2) in [(&["h2", "http/1.1"][..], true), (&["http/1.1"], false), (&[], false)]
            {
                let mut connection = site.client(&site.https, name)?.offering(offered).connect()?;
                assert_eq!(connection.is_http2(), is_http2, "{offered:?}");
                let reply = connection.get("/?echo", &[("x-forwarded-client-cert", "Hash=forged")])?;
                ensure!(reply.status == 200, "{reply:?}");
                // The client has checked that the certificate is for the name; the filter makes it the route key.
                assert_eq!(told(&reply, "x-route-key")?.as_deref(), Some(name));
                assert_eq!(told(&reply, "x-forwarded-client-cert")?, None);
                assert_eq!(told(&reply, "x-forwarded-proto")?.as_deref(), Some("https"));
            }
        }
        // Whoever asks for another name is shown the first, and finds that it is not for that name.
        let error = site.client(&site.https, "nobody.example.net")?.connect().map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("shop.example.com"), "{error:#}");
        Ok(())
    })
}

#[test]
fn a_client_ca_lets_only_known_clients_in_and_says_who_they_are() -> Result<()> {
    Scene::play(|scene| {
        let site = Site::start(scene, &[])?;
        let stranger = site.client(&site.mutual, SHOP)?;
        assert!(stranger.get("/", &[]).is_err());
        let others = Authority::new(&scene.folder().join("others"))?;
        others.issue_for("client", &[CLIENT], Lifetime::NOW)?;
        let (certificate, key) = (others.folder().join("client.crt"), others.folder().join("client.key"));
        let address = site.mutual.address();
        let impostor =
            Https::known(&site.world.client, address, SHOP, &site.file("ca.crt"), &certificate, &key)?;
        assert!(impostor.get("/", &[]).is_err());

        let reply =
            site.known(&site.mutual, SHOP)?.get("/?echo", &[("x-forwarded-client-cert", "URI=forged")])?;
        let identity = told(&reply, "x-forwarded-client-cert")?.context("nothing said who it is")?;
        assert!(identity.contains(&format!("URI={CLIENT}")) && !identity.contains("forged"), "{identity}");
        Ok(())
    })
}

#[test]
fn a_backend_over_tls_has_to_be_who_it_was_asked_for() -> Result<()> {
    Scene::play(|scene| {
        let site = Site::start(scene, &[])?;
        let world = &site.world;
        // Through the plain listener to the one that demands a certificate: both sides have checked each other.
        world.until("answers through TLS", "/", |answer| answer.header("x-upstream") == Some("alpha"))?;
        let sni = format!("sni: {SHOP}}}");
        world.documents.edit("tls.yaml", &[&sni], &["sni: one.example.org}"])?;
        world.until("a refusal", "/", |answer| answer.status == 503)?;
        let names = format!("sni: one.example.org, subjectAltNames: ['{SHOP}']}}");
        world.documents.edit("tls.yaml", &["sni: one.example.org}"], &[&names])?;
        world.until("another name", "/", |answer| answer.header("x-upstream") == Some("alpha"))?;
        // Without a certificate of its own the proxy is refused as any other client is.
        world.documents.edit("tls.yaml", &["certificateRef: client, "], &[""])?;
        world.until("a proxy without a certificate", "/", |answer| answer.status == 503)
    })
}

#[test]
fn bytes_arrive_without_the_tls_around_them() -> Result<()> {
    Scene::play(|scene| {
        let site = Site::start(scene, &[])?;
        let port = site.world.upstreams.port("beta")?;
        let raw = format!("protocol: TCP\nendpoints: [{{address: 127.0.0.1, port: {port}}}]");
        let texts =
            [document("Backend", "raw", &raw), route("raw", "{name: secure, sectionName: bytes}", "raw")];
        site.world.documents.write("bytes.yaml", &texts.join("---\n"))?;
        wait::until("bytes over TLS", || {
            let mut connection = site.client(&site.bytes, SHOP)?.offering(&["h2"]).connect()?;
            let reply = connection.get("/", &[])?;
            ensure!(reply.headers.get("x-upstream").is_some_and(|name| name == "beta"), "{reply:?}");
            Ok(())
        })
    })
}

#[test]
fn files_replaced_under_load_cost_no_request() -> Result<()> {
    Scene::play(|scene| {
        let site = Site::start(scene, &[])?;
        let client = site.client(&site.https, SHOP)?;
        let mut long = client.connect()?;
        let mut shown = long.certificate.clone();
        let load = client.load("/", 4);
        let answered = |more: usize| {
            let before = load.tally().served;
            wait::until("answers under load", || {
                ensure!(load.tally().served >= before + more, "{:?}", load.tally());
                Ok(())
            })
        };
        answered(100)?;

        // Twice, in both orders: the new key first, then the certificate, and the other way round.
        for (round, (first, second)) in
            [("shop.key", "shop.crt"), ("shop.crt", "shop.key")].into_iter().enumerate()
        {
            let draft = Authority::new(&scene.folder().join(format!("draft-{round}")))?;
            let new = site.authority.issue_into(draft.folder(), "shop", &[SHOP], Lifetime::NOW)?;
            fs::copy(draft.folder().join(first), site.file(first))?;
            site.is_logged("can't be used; what was in force stays in force", round + 1)?;
            assert_eq!(client.connect()?.certificate, shown, "half of a pair has taken effect");
            fs::copy(draft.folder().join(second), site.file(second))?;
            in_force(&client, &new)?;
            shown = new;
            answered(100)?;
        }

        // A certificate for another name changes which one clients are shown, without a change of any document.
        let new = site.authority.issue_for("wild", &["*.example.org", SHOP], Lifetime::NOW)?;
        in_force(&client.asking("one.example.org"), &new)?;
        answered(100)?;

        let reply = long.get("/", &[])?;
        assert_eq!(reply.status, 200, "the connection from before is still there");
        let tally = load.finish()?;
        assert!(tally.failures.is_empty(), "{tally:?}");
        assert_eq!(site.logged("PRIVATE KEY"), 0);
        Ok(())
    })
}

/// Waits until new connections, on whichever worker, are shown a certificate.
fn in_force(client: &Https, certificate: &[u8]) -> Result<()> {
    const IN_A_ROW: usize = 20;
    wait::until("the new certificate", || {
        for _ in 0..IN_A_ROW {
            ensure!(client.connect()?.certificate == certificate, "another is shown");
        }
        Ok(())
    })
}

#[test]
fn a_proxy_that_starts_while_a_certificate_is_past_its_time_serves_the_others() -> Result<()> {
    Scene::play(|scene| {
        let mut site = Site::start(scene, &[])?;
        site.authority.issue_for("wild", &["*.example.org"], Lifetime::PAST)?;
        site.world.control_plane.restart()?;
        site.is_logged("the certificate has expired; it stays in force", 1)?;
        let metrics =
            site.world.client.read(&format!("http://{}/metrics", site.world.control_plane.admin()))?.body;
        assert!(
            metrics.contains("spillway_certificate_expiry_timestamp_seconds{certificate=\"wild\"}"),
            "{metrics}"
        );
        let shop = site.client(&site.https, SHOP)?;
        let wild = site.client(&site.https, "one.example.org")?;
        wait::until("an expired certificate", || {
            let error = wild.connect().map(drop).err().context("it is still the old one")?;
            ensure!(format!("{error:#}").to_lowercase().contains("expired"), "{error:#}");
            Ok(())
        })?;
        assert_eq!(shop.get("/", &[])?.status, 200);
        Ok(())
    })
}
