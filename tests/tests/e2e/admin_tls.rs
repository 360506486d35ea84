//! The admin port with TLS and client certificates, as the commands use it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::artifacts;
use spillway_tests::authority::Authority;
use spillway_tests::client::Client;
use spillway_tests::documents::Documents;
use spillway_tests::ports::Port;
use spillway_tests::process::Process;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::api::GATEWAY;

/// A control plane whose admin port speaks TLS.
struct Served {
    _process: Process,
    url: String,
    port: Port,
}

impl Served {
    fn start(scene: &Scene, name: &str, flags: &[&str]) -> Result<Self> {
        let documents = Documents::empty(&scene.folder().join(name))?;
        documents.write("gateway.yaml", GATEWAY)?;
        let (xds, port) = (Port::free()?, Port::free()?);
        let (xds, admin) = (xds.address().to_string(), port.address().to_string());
        let filter = artifacts::filter()?;
        let own = ["--xds", &xds, "--admin", &admin, "--config"].map(std::ffi::OsStr::new);
        let arguments = [std::ffi::OsStr::new("serve")]
            .into_iter()
            .chain(own)
            .chain([documents.folder().as_os_str(), "--filter".as_ref(), filter.as_os_str()])
            .chain(flags.iter().map(std::ffi::OsStr::new));
        let process = Process::start(name, &artifacts::spillway()?, arguments, &scene.log(name))?;
        let url = format!("https://localhost:{}", port.number());
        Ok(Self { _process: process, url, port })
    }

    /// Runs a client command against it; gives the exit code and both streams.
    fn command(&self, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
        let mut command = Command::new(artifacts::spillway()?);
        let output = command.args(arguments).args(["--server", &self.url]).env("USER", "eve").output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    }

    fn until_answered(&self, arguments: &[&str]) -> Result<()> {
        wait::until("the admin port to answer", || {
            let (code, _, error) = self.command(arguments)?;
            ensure!(code == Some(0), "{error}");
            Ok(())
        })
    }

    /// That a command fails with one readable line.
    fn refuses(&self, arguments: &[&str], expected: &str) -> Result<()> {
        let (code, _, error) = self.command(arguments)?;
        ensure!(code == Some(2) && error.lines().count() == 1, "{code:?}: {error}");
        ensure!(error.contains(expected), "{error}");
        Ok(())
    }
}

#[test]
fn whoever_has_a_certificate_is_let_in_and_named() -> Result<()> {
    Scene::play(|scene| {
        let ours = Authority::new(&scene.folder().join("ours"))?;
        ours.issue("server", "localhost")?;
        ours.issue("ann", "ann.example")?;
        let theirs = Authority::new(&scene.folder().join("theirs"))?;
        theirs.issue("ann", "ann.example")?;
        let (certificate, key) = (ours.path("server.crt")?, ours.path("server.key")?);
        let ca = ours.path("ca.crt")?;
        let flags = ["--admin-tls-cert", &certificate, "--admin-tls-key", &key, "--admin-client-ca", &ca];
        let served = Served::start(scene, "served", &flags)?;
        let with = |authority: &Authority| -> Result<Vec<String>> {
            let files = [ca.clone(), authority.path("ann.crt")?, authority.path("ann.key")?];
            let flags = ["--ca-file", "--cert", "--key"].map(str::to_owned);
            Ok(flags.into_iter().zip(files).flat_map(<[String; 2]>::from).collect())
        };
        let (right, wrong) = (with(&ours)?, with(&theirs)?);
        let right: Vec<_> = right.iter().map(String::as_str).collect();
        let wrong: Vec<_> = wrong.iter().map(String::as_str).collect();
        served.until_answered(&[&["get"], &*right].concat())?;

        // A change is by whom the certificate names, whatever the client says of itself.
        let file = scene.folder().join("change.yaml");
        std::fs::write(&file, GATEWAY.replace("10000", "10001"))?;
        let path = file.to_str().context("a path that is not UTF-8")?;
        let (code, out, error) = served.command(&[&["apply", "-f", path], &*right].concat())?;
        ensure!(code == Some(0) && out.ends_with("revision 2\n"), "{out}{error}");
        let (_, out, _) = served.command(&[&["history", "-o", "json"], &*right].concat())?;
        let history: Value = serde_json::from_str(&out)?;
        assert_eq!(history.pointer("/0/author"), Some(&"ann.example".into()), "{history}");

        // Nobody else, each told in one line.
        served.refuses(&["get", "--ca-file", &ca], "does not answer")?;
        served.refuses(&[&["get"], &*wrong].concat(), "does not answer")?;
        served.refuses(&["get"], "does not answer")?;
        let cleartext = served.url.replace("https", "http");
        served.refuses(&["get", "--server", &cleartext], "").or_else(|_| {
            // `--server` is given twice then; ask the other way.
            let output =
                Command::new(artifacts::spillway()?).args(["get", "--server", &cleartext]).output()?;
            let error = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(2) && error.lines().count() == 1, "{error}");
            Ok(())
        })
    })
}

#[test]
fn a_token_travels_through_tls_and_new_certificates_are_taken_up() -> Result<()> {
    Scene::play(|scene| {
        let ours = Authority::new(&scene.folder().join("ours"))?;
        ours.issue("server", "localhost")?;
        let tokens = scene.folder().join("tokens");
        std::fs::write(&tokens, "bob 0123456789abcdef\n")?;
        let tokens = tokens.to_str().context("a path that is not UTF-8")?;
        let (certificate, key, ca) =
            (ours.path("server.crt")?, ours.path("server.key")?, ours.path("ca.crt")?);
        let flags = ["--admin-tls-cert", &certificate, "--admin-tls-key", &key, "--admin-token-file", tokens];
        let served = Served::start(scene, "served", &flags)?;
        let get = ["get", "--ca-file", &ca, "--token-file", tokens];
        served.until_answered(&get)?;
        served.refuses(&["get", "--ca-file", &ca], "asks for a token")?;

        // Beyond names that the certificate has nobody is believed.
        let (_, _, error) = served.command(&["get", "--ca-file", &ca, "--token-file", tokens])?;
        ensure!(error.is_empty(), "{error}");
        let numeric = format!("https://{}", served.port.address());
        let output = Command::new(artifacts::spillway()?).args(get).args(["--server", &numeric]).output()?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2) && error.lines().count() == 1, "{error}");

        // Another authority vouches from now on: who trusts the old one alone is told, who trusts the new one is served.
        let next = Authority::new(&scene.folder().join("next"))?;
        next.issue("server", "localhost")?;
        for file in ["server.key", "server.crt"] {
            std::fs::copy(next.path(file)?, ours.path(file)?)?;
        }
        let next_ca = next.path("ca.crt")?;
        served.until_answered(&["get", "--ca-file", &next_ca, "--token-file", tokens])?;
        served.refuses(&get, "does not answer")?;
        // And health is still for everybody who trusts the server.
        Client::new().map(drop)
    })
}
