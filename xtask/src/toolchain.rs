//! Where a Rust compiler for `wasm32-unknown-unknown` comes from.
//!
//! The standard library for that target is one `rustup target add` away in most places. Where rustup is absent or has nowhere to
//! download from, Debian's `rustc-web` and `rust-web-src` do: a compiler and the sources of its standard library, unpacked into
//! `target/` without installing anything, with the library built from source by cargo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

mod debian;

use crate::process;

/// The target: nothing from WASI is linked by its standard library, so that the module runs in any proxy-wasm host.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How long rustup may try: with no network it can keep trying for minutes.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Which toolchain `cargo xtask build` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// The installed target, else rustup's, else Debian's
    Auto,
    /// The target of the installed Rust, added by rustup where it is missing
    Rustup,
    /// Debian's compiler with the standard library built from source
    Debian,
}

/// A compiler that can build the module.
pub(crate) enum Toolchain {
    /// The Rust that runs this has the target.
    Installed,
    /// Debian's, unpacked.
    Debian(debian::Unpacked),
}

impl Toolchain {
    /// Finds one or makes one, saying why; an error says what was tried and what to install.
    pub(crate) fn ensure(choice: Choice) -> Result<Self> {
        if choice != Choice::Debian && has_target()? {
            eprintln!("wasm: the installed Rust has the target {TARGET}");
            return Ok(Self::Installed);
        }
        let folder = process::target().join("wasm-toolchain");
        if choice != Choice::Rustup
            && let Some(unpacked) = debian::Unpacked::open(&folder)
        {
            eprintln!("wasm: using the Debian toolchain unpacked before in {}", folder.display());
            return Ok(Self::Debian(unpacked));
        }
        let mut failures = Vec::new();
        if choice != Choice::Debian {
            match add_target() {
                Ok(()) => return Ok(Self::Installed),
                Err(error) => failures.push(error.context("rustup could not add it")),
            }
        }
        if choice != Choice::Rustup {
            match debian::Unpacked::fetch(&folder) {
                Ok(unpacked) => return Ok(Self::Debian(unpacked)),
                Err(error) => failures.push(error.context("Debian's packages could not be used")),
            }
        }
        Err(explain(&failures))
    }

    /// A cargo that builds for [`TARGET`]. The caller adds what to build.
    pub(crate) fn cargo_build(&self) -> Result<Command> {
        let mut command = process::cargo();
        command.arg("build");
        if let Self::Debian(unpacked) = self {
            unpacked.apply(&mut command, &linker()?);
        }
        command.args(["--target", TARGET]);
        Ok(command)
    }
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// rustc names the folder of a target's library whether or not it is there.
fn has_target() -> Result<bool> {
    let folder = process::read(rustc().args(["--print", "target-libdir", "--target", TARGET]))
        .context("no working rustc: install Rust from https://rustup.rs")?;
    let Ok(entries) = fs::read_dir(folder.trim()) else { return Ok(false) };
    Ok(entries.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
}

fn add_target() -> Result<()> {
    let rustup = process::find("rustup").context("there is no rustup on PATH")?;
    eprintln!("wasm: the installed Rust lacks the target {TARGET}; asking rustup to add it");
    process::read_within(Command::new(rustup).args(["target", "add", TARGET]), RUSTUP_LIMIT)?;
    // rustup may have added it to another toolchain than the one that PATH or RUSTC leads to.
    if has_target()? { Ok(()) } else { bail!("rustup says that it did, but rustc does not find it") }
}

/// Debian's compiler packages have no linker for Wasm; every Rust from rustup does.
fn linker() -> Result<PathBuf> {
    let sysroot = process::read(rustc().args(["--print", "sysroot"]))?;
    let about = process::read(rustc().arg("-vV"))?;
    let host =
        about.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let bundled = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/rust-lld");
    if bundled.is_file() {
        return Ok(bundled);
    }
    process::find("wasm-ld")
        .context("no linker for Wasm: neither rustup's rust-lld nor wasm-ld (package lld) is installed")
}

fn explain(failures: &[anyhow::Error]) -> anyhow::Error {
    let reasons: Vec<String> = failures.iter().map(|failure| format!("- {failure:#}")).collect();
    anyhow!(
        "no Rust standard library for {TARGET}, which the filter is built for.\n{}\n\
         Install it with `rustup target add {TARGET}`, or make the packages {} available to apt-get, and try again",
        reasons.join("\n"),
        debian::ROOTS.join(" and "),
    )
}
