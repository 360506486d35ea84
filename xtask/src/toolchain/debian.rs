//! Debian's Rust, downloaded and unpacked without being installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;

/// The compiler, and the sources of its standard library: what they depend on is asked of apt.
pub(crate) const ROOTS: [&str; 2] = ["rustc-web", "rust-web-src"];

/// The oldest release that builds the workspace, as the manifests have it.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// A C toolchain links build scripts; whoever compiles Rust has one already, and these names drag in hundreds of megabytes.
const HOST_TOOLS: [&str; 3] = ["gcc", "binutils", "libc6-dev"];

/// Written last: a folder without it was interrupted.
const COMPLETE: &str = "complete";

const LIMIT: Duration = Duration::from_secs(600);

/// A compiler with its libraries and sources in a folder of ours.
pub(crate) struct Unpacked {
    rustc: PathBuf,
    libraries: PathBuf,
}

impl Unpacked {
    /// What an earlier call left, if it is whole.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        if !folder.join(COMPLETE).is_file() {
            return None;
        }
        let libraries = folder_of_driver(&folder.join("usr/lib"))?;
        let rustc = folder.join("usr/bin/rustc");
        rustc.is_file().then_some(Self { rustc, libraries })
    }

    /// Downloads and unpacks. The packages stay beside what they were unpacked into until that is whole, so that a second try
    /// after an interruption downloads only what is missing.
    pub(crate) fn fetch(folder: &Path) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "dpkg-deb", "dpkg-query"] {
            process::find(tool).with_context(|| format!("there is no {tool}: this is no Debian"))?;
        }
        ensure_candidate()?;
        let packages = needed()?;
        let downloads = folder.join("packages");
        fs::create_dir_all(&downloads)
            .with_context(|| format!("could not create {}", downloads.display()))?;
        eprintln!("wasm: downloading {} into {}", packages.join(", "), downloads.display());
        // apt skips a file that is there already with the right checksum.
        process::read_within(
            Command::new("apt-get").current_dir(&downloads).args(["--quiet", "download"]).args(&packages),
            LIMIT,
        )?;
        for package in archives(&downloads)? {
            process::read_within(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(folder), LIMIT)?;
        }
        fs::write(folder.join(COMPLETE), packages.join("\n"))?;
        fs::remove_dir_all(&downloads)?;
        let unpacked = Self::open(folder).context("the packages lack usr/bin/rustc or its driver library")?;
        let version = process::read(
            Command::new(&unpacked.rustc).env("LD_LIBRARY_PATH", &unpacked.libraries).arg("-V"),
        )
        .context("the unpacked compiler does not run")
        .inspect_err(|_| drop(fs::remove_file(folder.join(COMPLETE))))?;
        eprintln!("wasm: unpacked {}", version.trim());
        Ok(unpacked)
    }

    /// Makes a `cargo build` use this compiler and build the standard library too.
    pub(crate) fn apply(&self, command: &mut Command, linker: &Path) {
        command
            .env("RUSTC", &self.rustc)
            .env("LD_LIBRARY_PATH", &self.libraries)
            // Building the standard library is no stable feature of cargo; of the language, only stable parts are used.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
            .arg("-Zbuild-std=std,panic_abort");
    }
}

/// apt knows the compiler, new enough; refreshes apt's lists once where it does not.
fn ensure_candidate() -> Result<()> {
    if candidate()?.is_some() {
        return Ok(());
    }
    eprintln!("wasm: apt knows no {} from {OLDEST} on; refreshing its lists", ROOTS.join(" and "));
    process::read_within(Command::new("apt-get").args(["--quiet", "update"]), LIMIT)?;
    match candidate()? {
        Some(_) => Ok(()),
        None => bail!("apt knows no {} from {OLDEST} on", ROOTS.join(" and ")),
    }
}

/// The version that apt would install, where it is new enough.
fn candidate() -> Result<Option<String>> {
    let [compiler, sources] = ROOTS;
    let version = |package| -> Result<Option<String>> {
        let policy = process::read(Command::new("apt-cache").env("LC_ALL", "C").args(["policy", package]))?;
        Ok(policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: ")).map(str::to_owned))
    };
    let (compiler, sources) = (version(compiler)?, version(sources)?);
    Ok(compiler.filter(|version| Some(version) == sources.as_ref() && new_enough(version)))
}

fn new_enough(version: &str) -> bool {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    numbers(version) >= numbers(OLDEST) && numbers(version).is_some()
}

/// The packages to unpack: the roots and what they depend on, except what this machine has.
fn needed() -> Result<Vec<String>> {
    let installed = process::read(
        Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Abbrev} ${Package}\n"]),
    )?;
    let installed: BTreeSet<&str> = installed.lines().filter_map(|line| line.strip_prefix("ii  ")).collect();
    let mut needed: Vec<String> = ROOTS.map(str::to_owned).into();
    let mut asked = 0;
    while let Some(package) = needed.get(asked) {
        asked += 1;
        let listing = process::read(Command::new("apt-cache").env("LC_ALL", "C").args([
            "depends",
            "--no-pre-depends",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            "--no-enhances",
            package,
        ]))?;
        for dependency in dependencies(&listing) {
            // The compiler's own libraries must lie beside it even where the system has some.
            let own = dependency.starts_with("libstd-rust");
            let at_hand = HOST_TOOLS.contains(&dependency) || installed.contains(dependency);
            if (own || !at_hand) && !needed.iter().any(|other| other == dependency) {
                needed.push(dependency.to_owned());
            }
        }
    }
    Ok(needed)
}

/// The names in what `apt-cache depends` prints; virtual packages, in angle brackets, are left to the tools at hand.
fn dependencies(listing: &str) -> impl Iterator<Item = &str> {
    listing
        .lines()
        .filter_map(|line| line.trim_start_matches([' ', '|']).strip_prefix("Depends: "))
        .filter(|name| !name.starts_with('<'))
}

fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<PathBuf> = entries
        .iter()
        .map(fs::DirEntry::path)
        .filter(|path| path.extension().is_some_and(|e| e == "deb"))
        .collect();
    paths.sort();
    if paths.is_empty() {
        bail!("apt-get succeeded but left no package in {}", folder.display());
    }
    Ok(paths)
}

/// `usr/lib/<architecture>`, whatever that is called here.
fn folder_of_driver(libraries: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(libraries).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    folders.into_iter().find(|folder| {
        fs::read_dir(folder).is_ok_and(|entries| {
            entries
                .filter_map(Result::ok)
                .any(|entry| entry.file_name().to_string_lossy().starts_with("librustc_driver"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_as_apt_prints_them() {
        let listing = "rustc-web\n  Depends: libc6\n |Depends: libgcc-s1\n  Depends: <libc-dev>\n    libc6-dev\n  Depends: gcc\n";
        assert_eq!(dependencies(listing).collect::<Vec<_>>(), ["libc6", "libgcc-s1", "gcc"]);
    }

    #[test]
    fn releases_are_compared_by_number() {
        assert!(new_enough("1.96.0+dfsg1-1~deb12u2"));
        assert!(new_enough("2.0.0"));
        assert!(!new_enough("1.85.0+dfsg3-1~deb12u3"));
        assert!(!new_enough("(none)"));
    }
}
