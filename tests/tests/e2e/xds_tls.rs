//! TLS between Envoy and the control plane: certificates of both sides, and what happens when they change.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::authority::Authority;
use spillway_tests::control_plane;
use spillway_tests::envoy::Envoy;
use spillway_tests::https::Https;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::document;
use crate::world::{TO_ALPHA, World};

/// An Envoy with a bootstrap that has these flags; not waited for.
fn launch(scene: &Scene, world: &World, name: &str, flags: &[&str]) -> Result<(Envoy, Port)> {
    let admin = Port::free()?;
    let bootstrap = scene.folder().join(format!("{name}.yaml"));
    world.control_plane.bootstrap("edge", &admin, &bootstrap, &[&["--node", name], flags].concat())?;
    Ok((Envoy::launch(&world.client, &bootstrap, &admin, 1, &scene.log(name))?, admin))
}

/// The flags of an Envoy that has this authority's certificates.
fn trusting(authority: &Authority) -> Result<[String; 6]> {
    Ok([
        "--xds-tls-ca".into(),
        authority.path("ca.crt")?,
        "--xds-tls-cert".into(),
        authority.path("client.crt")?,
        "--xds-tls-key".into(),
        authority.path("client.key")?,
    ])
}

fn logged(world: &World, message: &str) -> Result<()> {
    wait::until(&format!("the message {message:?}"), || {
        ensure!(world.control_plane.output().contains(message), "not logged");
        Ok(())
    })
}

#[test]
fn certificates_of_both_sides_are_checked_and_replaced_while_everything_runs() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let first = Authority::new(&scene.folder().join("first"))?;
        let second = Authority::new(&scene.folder().join("second"))?;
        for authority in [&first, &second] {
            authority.issue("server", "127.0.0.1")?;
            authority.issue("client", "proxy.example.com")?;
        }
        // What the control plane serves with: files of its own, whose content is replaced.
        let own = Authority::new(&scene.folder().join("own"))?;
        let install = |from: &Authority| -> Result<()> {
            for (file, to) in [("ca.crt", "ca.crt"), ("server.key", "tls.key"), ("server.crt", "tls.crt")] {
                fs::copy(from.folder().join(file), own.folder().join(to))?;
            }
            Ok(())
        };
        install(&first)?;
        let (certificate, key, ca) = (own.path("tls.crt")?, own.path("tls.key")?, own.path("ca.crt")?);
        world.envoy.process().kill()?;
        world.control_plane.restart_with(&[
            "--xds-tls-cert",
            &certificate,
            "--xds-tls-key",
            &key,
            "--xds-client-ca",
            &ca,
        ])?;

        let flags = trusting(&first)?;
        let (envoy, _admin) = launch(scene, &world, "known", &flags.each_ref().map(|flag| &**flag))?;
        world.envoy = envoy;
        world.envoy.wait_ready()?;
        // The filter's module came the same way: without it nothing would be answered.
        world.until("traffic", "/", |answer| answer.header("x-upstream") == Some("alpha"))?;

        let anonymous = ["--xds-tls-ca", &first.path("ca.crt")?];
        let (stranger, _stranger_admin) = launch(scene, &world, "stranger", &anonymous)?;
        logged(&world, "a TLS handshake failed")?;
        assert_eq!(stranger.stat("listener_manager.lds.update_success")?, 0);
        drop(stranger);

        // Something that can't be used changes nothing and is told.
        fs::write(own.folder().join("tls.crt"), "no certificate")?;
        logged(&world, "new certificates can't be used")?;
        world.documents.edit("routes.yaml", &["{name: alpha}"], &["{name: beta}"])?;
        world.until("an edit", "/", |answer| answer.header("x-upstream") == Some("beta"))?;

        // Everything is replaced, authority included. Whoever is connected stays so.
        install(&second)?;
        logged(&world, "new certificates are in force")?;
        world.documents.edit("routes.yaml", &["{name: beta}"], &["{name: alpha}"])?;
        world.until("an edit after that", "/", |answer| answer.header("x-upstream") == Some("alpha"))?;
        let flags = trusting(&second)?;
        let (mut new, _new_admin) = launch(scene, &world, "new", &flags.each_ref().map(|flag| &**flag))?;
        new.wait_ready()?;
        wait::until("the listener of the new Envoy", || {
            ensure!(new.stat("listener_manager.lds.update_success")? > 0);
            Ok(())
        })?;
        let flags = trusting(&first)?;
        let (old, _old_admin) = launch(scene, &world, "old", &flags.each_ref().map(|flag| &**flag))?;
        wait::until("the refusal of the old certificates", || {
            ensure!(
                old.stat("cluster.spillway.ssl.fail_verify_error")?
                    + old.stat("cluster.spillway.ssl.fail_verify_san")?
                    > 0
            );
            Ok(())
        })?;
        assert_eq!(old.stat("listener_manager.lds.update_success")?, 0);
        Ok(())
    })
}

#[test]
fn a_port_that_strangers_can_reach_serves_everything_but_secrets() -> Result<()> {
    Scene::play(|scene| {
        let mut world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        world.control_plane.restart_exposed()?;
        logged(&world, "open beyond this machine without TLS")?;
        let authority = Authority::new(&world.documents.path("keys"))?;
        authority.issue("shop", "shop.example.com")?;
        let port = Port::free()?;
        let listeners = format!(
            "fleet: edge\nlisteners: [{{name: safe, address: 127.0.0.1, port: {}, protocol: HTTPS, tls: {{certificateRefs: [shop]}}}}]",
            port.number()
        );
        let documents = [
            document("Gateway", "safe", &listeners),
            document("Certificate", "shop", "certFile: keys/shop.crt\nkeyFile: keys/shop.key"),
        ];
        let routes = TO_ALPHA.replace("[{name: edge}]", "[{name: edge}, {name: safe}]");
        world.documents.write("safe.yaml", &documents.join("---\n"))?;
        world.documents.write("routes.yaml", &routes)?;
        logged(&world, "secrets are not served beyond this machine without TLS")?;

        // The listener comes without its certificate, and edits go on.
        let ca = authority.folder().join("ca.crt");
        let get = || Https::new(&world.client, port.address(), "shop.example.com", &ca)?.get("/", &[]);
        let unready = format!(
            "listener.127.0.0.1_{}.server_ssl_socket_factory.downstream_context_secrets_not_ready",
            port.number()
        );
        wait::until("connections that end for want of a certificate", || {
            ensure!(get().is_err(), "an answer over TLS without a certificate");
            ensure!(world.envoy.stat(&unready)? > 0, "none yet");
            Ok(())
        })?;
        world.documents.edit("routes.yaml", &["{name: alpha}"], &["{name: beta}"])?;
        world.until("an edit", "/", |answer| answer.header("x-upstream") == Some("beta"))?;
        assert!(get().is_err());

        // Where no stranger comes, the certificate does.
        world.control_plane.restart_with(&[])?;
        wait::until("answers over TLS", || {
            let reply = Https::new(&world.client, port.address(), "shop.example.com", &ca)?.get("/", &[])?;
            ensure!(reply.status == 200, "{}", reply.status);
            Ok(())
        })
    })
}

#[test]
fn an_address_beyond_this_machine_needs_tls_or_a_word() -> Result<()> {
    let documents = artifacts::workspace().join("demo/documents");
    let documents = documents.to_str().context("a path that is not UTF-8")?;
    let filter = artifacts::filter()?;
    let filter = filter.to_str().context("a path that is not UTF-8")?;
    let serve = ["serve", "--config", documents, "--filter", filter, "--admin", "127.0.0.1:0", "--xds"];
    let cases: [(&[&str], &str); 3] = [
        (&["0.0.0.0:0"], "--xds-insecure"),
        (&["127.0.0.1:0", "--xds-tls-cert", "nowhere.crt", "--xds-tls-key", "nowhere.key"], "nowhere.crt"),
        (&["127.0.0.1:0", "--xds-tls-cert", "nowhere.crt"], "--xds-tls-key"),
    ];
    for (flags, expected) in cases {
        let output = control_plane::run(&[&serve, flags].concat())?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    Ok(())
}
