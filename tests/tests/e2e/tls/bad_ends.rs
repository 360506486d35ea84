//! Files that can't be used take the place of files in force: what was in force stays, and the log says which document, field and reason.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::authority::Lifetime;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{SHOP, Site, in_force};

/// Clients connect and ask without a break while the files of `shop` are spoilt and mended again.
fn changes_nothing(field: &str, reason: &str, spoil: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    Scene::play(|scene| {
        let site = Site::start(scene, &[])?;
        let client = site.client(&site.https, SHOP)?;
        let shown = client.connect()?.certificate;
        let good = ["shop.crt", "shop.key"].map(|name| fs::read(site.file(name)).map(|bytes| (name, bytes)));
        let load = client.load("/", 2);
        spoil(&site)?;
        wait::until(reason, || {
            let output = site.world.control_plane.output();
            let line = output.lines().find(|line| line.contains(reason)).context("not logged")?;
            ensure!(line.contains(field) && line.contains("\"shop\""), "{line}");
            Ok(())
        })?;
        in_force(&client, &shown)?;
        for file in good {
            let (name, bytes) = file?;
            fs::write(site.file(name), bytes)?;
        }
        site.is_logged("are again what is in force", 1)?;
        in_force(&client, &shown)?;
        let tally = load.finish()?;
        ensure!(tally.failures.is_empty() && tally.served > 0, "{tally:?}");
        ensure!(site.logged("PRIVATE KEY") == 0, "a key is in the log");
        Ok(())
    })
}

#[test]
fn a_certificate_that_has_expired_does_not_replace_one_in_force() -> Result<()> {
    changes_nothing("certFile", "has expired, on ", |site| {
        site.authority.issue_for("shop", &[SHOP], Lifetime::PAST).map(drop)
    })
}

#[test]
fn a_key_of_another_certificate_does_not_replace_one_in_force() -> Result<()> {
    changes_nothing("keyFile", "does not fit the certificate", |site| {
        Ok(fs::copy(site.file("wild.key"), site.file("shop.key")).map(drop)?)
    })
}

#[test]
fn a_key_that_is_gone_does_not_replace_one_in_force() -> Result<()> {
    changes_nothing("keyFile", "cannot be read: No such file", |site| {
        Ok(fs::remove_file(site.file("shop.key"))?)
    })
}

#[test]
fn a_certificate_that_is_unreadable_does_not_replace_one_in_force() -> Result<()> {
    changes_nothing("certFile", "has no certificate in PEM", |site| {
        Ok(fs::write(site.file("shop.crt"), "soon")?)
    })
}
