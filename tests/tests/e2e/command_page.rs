//! The commands of the page about the command line, as they stand there; and what commands show of keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use spillway_tests::artifacts;
use spillway_tests::authority::Authority;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;

use crate::text::{TO_ALPHA, care, document};

/// Documents with everything that the page's commands name.
fn documents(folder: &Path, rate: &str) -> Result<Documents> {
    let documents = Documents::empty(folder)?;
    let gateway =
        format!("fleet: edge\nlisteners: [{{name: web, port: {}, protocol: HTTP}}]", Port::free()?.number());
    documents.write("gateway.yaml", &document("Gateway", "edge", &gateway))?;
    for name in ["alpha", "old"] {
        documents.write(&format!("{name}.yaml"), &document("Backend", name, "endpoints: []"))?;
    }
    documents.write("routes.yaml", TO_ALPHA)?;
    documents.write("limits.yaml", &fair(rate))?;
    Ok(documents)
}

fn fair(rate: &str) -> String {
    care(&format!("rateLimits: [{{name: total, rate: {rate}}}]")).replace("name: care", "name: fair")
}

/// A shell in which `spillway` is the program, and asks this server.
fn shell(folder: &Path, server: &ControlPlane, line: &str) -> Result<Output> {
    let program = artifacts::spillway()?;
    let script = format!("spillway() {{ \"$SPILLWAY\" \"$@\"; }}\n{line}");
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", &script]).current_dir(folder).env("SPILLWAY", program);
    shell.env("SPILLWAY_SERVER", format!("http://{}", server.admin())).output().context("bash is needed")
}

/// How a command of the page is tried, and with which codes it ends. What never ends by itself is given a second.
fn tried(command: &str) -> Result<(String, &'static [i32])> {
    let name = command.trim_start_matches("source <(spillway ").trim_start_matches("spillway ");
    Ok(match name.split([' ', ')']).next().unwrap_or_default() {
        "apply" | "get" | "delete" | "history" | "rollback" | "check" | "explain" | "schema"
        | "completions" => (command.to_owned(), &[0]),
        "diff" => (command.to_owned(), &[1]),
        // 124 is what `timeout` says, here of the program that it was told to end.
        "status" => (command.replacen("spillway", "timeout 1 \"$SPILLWAY\"", 1), &[124]),
        "serve" => {
            let (xds, admin) = (Port::free()?, Port::free()?);
            let own = command.replace("/var/lib/spillway", "./own").replacen(
                "spillway",
                "timeout 1 \"$SPILLWAY\"",
                1,
            );
            let (filter, xds, admin) = (artifacts::filter()?, xds.address(), admin.address());
            (format!("{own} --filter {} --xds {xds} --admin {admin}", filter.display()), &[0, 124])
        }
        // No Envoy is there, so only fleets are.
        "top" => (command.split(" --metrics").next().unwrap_or_default().to_owned(), &[0]),
        "bootstrap" => (command.split(" && ").next().unwrap_or_default().to_owned(), &[0]),
        other => bail!("the page has a command that is not tried: {other}"),
    })
}

#[test]
fn every_command_of_the_page_does_what_it_says() -> Result<()> {
    let page = std::fs::read_to_string(artifacts::workspace().join("docs/cli.md"))?;
    let commands: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    ensure!(commands.len() >= 14, "{commands:?}");
    Scene::play(|scene| {
        let folder = scene.folder();
        let (now, _) =
            (documents(&folder.join("documents"), "10/s")?, documents(&folder.join("documents.old"), "5/s")?);
        let server = ControlPlane::start(&Client::new()?, now.folder(), folder)?;
        // Some name the seventh revision.
        for rate in 2..8 {
            std::fs::write(folder.join("limits.yaml"), fair(&format!("{rate}/s")))?;
            ensure!(shell(folder, &server, "spillway apply -f limits.yaml")?.status.success(), "{rate}");
        }
        std::fs::write(folder.join("limits.yaml"), fair("20/s"))?;
        for command in commands {
            let (line, codes) = tried(command)?;
            let output = shell(folder, &server, &line)?;
            let code = output.status.code().unwrap_or(-1);
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(codes.contains(&code), "{line}\nends with {code}: {told}");
        }
        Ok(())
    })
}

/// The lines of a key that nobody else could know.
fn secret(key: &Path) -> Result<Vec<String>> {
    let pem = std::fs::read_to_string(key)?;
    Ok(pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect())
}

#[test]
fn no_command_shows_a_private_key() -> Result<()> {
    Scene::play(|scene| {
        let folder = scene.folder();
        let documents = documents(&folder.join("documents"), "10/s")?;
        let authority = Authority::new(&documents.folder().join("keys"))?;
        for name in ["shop", "next"] {
            authority.issue(name, "shop.example.com")?;
        }
        let port = Port::free()?;
        let secure = format!(
            "fleet: secure\nlisteners: [{{name: https, port: {}, protocol: HTTPS, tls: {{certificateRefs: [shop]}}}}]",
            port.number()
        );
        let certificate = |name: &str, file: &str| {
            document("Certificate", name, &format!("certFile: keys/{file}.crt\nkeyFile: keys/{file}.key"))
        };
        documents.write(
            "secure.yaml",
            &[document("Gateway", "secure", &secure), certificate("shop", "shop")].join("---\n"),
        )?;
        let server = ControlPlane::start(&Client::new()?, documents.folder(), folder)?;
        std::fs::write(folder.join("next.yaml"), certificate("shop", "next"))?;
        let mut lines = Vec::new();
        for form in ["table", "yaml", "json"] {
            lines.extend([
                (format!("spillway get -o {form}"), 0),
                (format!("spillway get Certificate shop -o {form}"), 0),
                (format!("spillway diff next.yaml -o {form}"), 0),
                (format!("spillway apply -f next.yaml --dry-run -o {form}"), 0),
                (format!("spillway apply -f next.yaml -m next -o {form}"), 0),
                (format!("spillway history -o {form}"), 0),
                (format!("spillway history 2 -o {form}"), 0),
                (format!("spillway diff --from 1 --to 2 -o {form}"), 0),
                (format!("spillway rollback 1 --dry-run -o {form}"), 0),
                (format!("spillway status -o {form}"), 0),
                (format!("spillway explain --config documents --fleet secure --request https://shop.example.com/ -o {form}"), 0),
            ]);
        }
        lines.extend(
            ["certificates", "documents", "revisions/2", "fleets", "proxies"]
                .map(|path| (format!("curl --silent \"$SPILLWAY_SERVER/api/v1/{path}\""), 0)),
        );
        let keys: Vec<PathBuf> = ["shop.key", "next.key"].map(|name| authority.folder().join(name)).into();
        let secrets = keys.iter().map(|key| secret(key)).collect::<Result<Vec<_>>>()?.concat();
        ensure!(secrets.iter().all(|line| line.len() > 16), "{secrets:?}");
        for (line, code) in lines {
            let output = shell(folder, &server, &line)?;
            let shown = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            ensure!(output.status.code() == Some(code), "{line}: {:?}: {shown}", output.status);
            ensure!(!shown.contains("PRIVATE KEY"), "{line}: {shown}");
            ensure!(!secrets.iter().any(|secret| shown.contains(secret)), "{line}: {shown}");
            let about = line.contains("get Certificate") || line.contains("history 2");
            ensure!(!about || shown.contains("hop"), "{line}: {shown}");
        }
        ensure!(!server.output().contains("PRIVATE KEY"), "a key is in the log");
        let history = std::fs::read_dir(folder.join("state"))?;
        for file in history {
            let kept = String::from_utf8_lossy(&std::fs::read(file?.path()).unwrap_or_default()).into_owned();
            ensure!(!secrets.iter().any(|secret| kept.contains(secret)), "a key is kept in the state");
        }
        Ok(())
    })
}
