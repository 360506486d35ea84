//! The admin port with TLS and client certificates, as the commands use it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::artifacts;
use spillway_tests::authority::Authority;
use spillway_tests::documents::Documents;
use spillway_tests::ports::Port;
use spillway_tests::process::Process;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::api::GATEWAY;

/// A control plane whose admin port speaks TLS, as `localhost`.
struct Served {
    _process: Process,
    /// Who vouches for it.
    authority: Authority,
    port: Port,
}

impl Served {
    /// With flags besides the certificate, which may name the authority's files.
    fn start(scene: &Scene, flags: impl Fn(&Authority) -> Result<[String; 2]>) -> Result<Self> {
        let authority = Authority::new(&scene.folder().join("ours"))?;
        authority.issue("server", "localhost")?;
        let (certificate, key) = (authority.path("server.crt")?, authority.path("server.key")?);
        let documents = Documents::empty(&scene.folder().join("documents"))?;
        documents.write("gateway.yaml", GATEWAY)?;
        let flags = flags(&authority)?;
        let (xds, port) = (Port::free()?, Port::free()?);
        let (xds, admin) = (xds.address().to_string(), port.address().to_string());
        let filter = artifacts::filter()?;
        let own = ["--xds", &xds, "--admin", &admin, "--config"].map(std::ffi::OsStr::new);
        let arguments = [std::ffi::OsStr::new("serve")]
            .into_iter()
            .chain(own)
            .chain([documents.folder().as_os_str(), "--filter".as_ref(), filter.as_os_str()])
            .chain(["--admin-tls-cert", &certificate, "--admin-tls-key", &key].map(std::ffi::OsStr::new))
            .chain(flags.iter().map(std::ffi::OsStr::new));
        let process = Process::start("served", &artifacts::spillway()?, arguments, &scene.log("served"))?;
        Ok(Self { _process: process, authority, port })
    }

    /// Runs a client command against it; gives the exit code and both streams.
    fn command(&self, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
        self.command_at("https://localhost", arguments)
    }

    /// The same with another name for it.
    fn command_at(&self, origin: &str, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
        let mut command = Command::new(artifacts::spillway()?);
        let server = format!("{origin}:{}", self.port.number());
        let output = command.args(arguments).args(["--server", &server]).env("USER", "eve").output()?;
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
        self.refuses_at("https://localhost", arguments, expected)
    }

    /// The same with another name for it.
    fn refuses_at(&self, origin: &str, arguments: &[&str], expected: &str) -> Result<()> {
        let (code, _, error) = self.command_at(origin, arguments)?;
        ensure!(code == Some(2) && error.lines().count() == 1, "{code:?}: {error}");
        ensure!(error.contains(expected), "{error}");
        Ok(())
    }
}

#[test]
fn whoever_has_a_certificate_is_let_in_and_named() -> Result<()> {
    Scene::play(|scene| {
        let served = Served::start(scene, |ours| Ok(["--admin-client-ca".into(), ours.path("ca.crt")?]))?;
        let theirs = Authority::new(&scene.folder().join("theirs"))?;
        for authority in [&served.authority, &theirs] {
            authority.issue("ann", "ann.example")?;
        }
        let ca = served.authority.path("ca.crt")?;
        let with = |authority: &Authority| -> Result<Vec<String>> {
            let files = [ca.clone(), authority.path("ann.crt")?, authority.path("ann.key")?];
            let flags = ["--ca-file", "--cert", "--key"].map(str::to_owned);
            Ok(flags.into_iter().zip(files).flat_map(<[String; 2]>::from).collect())
        };
        let (right, wrong) = (with(&served.authority)?, with(&theirs)?);
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
        served.refuses_at("http://localhost", &["get"], "")
    })
}

#[test]
fn a_token_travels_through_tls_and_new_certificates_are_taken_up() -> Result<()> {
    Scene::play(|scene| {
        let tokens = scene.folder().join("tokens");
        std::fs::write(&tokens, "bob 0123456789abcdef\n")?;
        let tokens = tokens.to_str().context("a path that is not UTF-8")?;
        let served = Served::start(scene, |_| Ok(["--admin-token-file".into(), tokens.to_owned()]))?;
        let ours = &served.authority;
        let ca = ours.path("ca.crt")?;
        let get = ["get", "--ca-file", &ca, "--token-file", tokens];
        served.until_answered(&get)?;
        served.refuses(&["get", "--ca-file", &ca], "asks for a token")?;

        // Beyond names that the certificate has nobody is believed.
        served.refuses_at("https://127.0.0.1", &get, "does not answer")?;

        // Another authority vouches from now on: who trusts the old one alone is told, who trusts the new one is served.
        let next = Authority::new(&scene.folder().join("next"))?;
        next.issue("server", "localhost")?;
        for file in ["server.key", "server.crt"] {
            std::fs::copy(next.path(file)?, ours.path(file)?)?;
        }
        let next_ca = next.path("ca.crt")?;
        served.until_answered(&["get", "--ca-file", &next_ca, "--token-file", tokens])?;
        served.refuses(&get, "does not answer")
    })
}
