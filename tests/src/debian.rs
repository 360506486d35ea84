//! Programs that come as Debian packages. What is not installed is unpacked below `target/`, with the libraries that it lacks; nothing is installed for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::artifacts;

/// A program that runs here.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    /// Where it was unpacked.
    folder: Option<PathBuf>,
}

impl Program {
    /// One of a package. `variable` names another place for the program.
    pub fn find(package: &str, program: &str, variable: &str) -> Result<Self> {
        if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
            return Ok(Self { path: path.into(), folder: None });
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed = std::env::split_paths(&path).map(|folder| folder.join(program));
        if let Some(path) = installed.into_iter().find(|path| path.is_file()) {
            return Ok(Self { path, folder: None });
        }
        let folder = unpacked(package)
            .with_context(|| format!("{program} is needed: install {package}, or name it in {variable}"))?;
        Ok(Self { path: folder.join("usr/bin").join(program), folder: Some(folder) })
    }

    /// What runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(folder) = &self.folder {
            let libraries = folder.join("usr/lib");
            command.env("LD_LIBRARY_PATH", libraries.join(format!("{}-linux-gnu", std::env::consts::ARCH)));
            command.env("PYTHONPATH", libraries.join("python3/dist-packages"));
        }
        command
    }
}

/// The folder with a package and what it depends on that this machine does not have.
fn unpacked(package: &str) -> Result<PathBuf> {
    let target = artifacts::workspace().join("target");
    fs::create_dir_all(&target)?;
    let folder = target.join(format!("debian-{package}"));
    let finished = folder.join("finished");
    // Of several tests that need it at the same time one fetches it. The lock ends with its file, however the process ends.
    let lock = File::create(target.join(".debian.lock"))?;
    lock.lock()?;
    if !finished.is_file() {
        let downloads = folder.join("packages");
        fs::create_dir_all(&downloads)?;
        // The lists of a fresh image are empty, and old ones name packages that are gone.
        if download(package, &downloads).is_err() {
            run(Command::new("apt-get").args(["--quiet", "update"]))?;
            download(package, &downloads)?;
        }
        for archive in fs::read_dir(&downloads)? {
            run(Command::new("dpkg-deb").arg("--extract").arg(archive?.path()).arg(&folder))?;
        }
        fs::remove_dir_all(&downloads)?;
        File::create(finished)?;
    }
    Ok(folder)
}

fn download(package: &str, downloads: &Path) -> Result<()> {
    let simulation = ["--quiet", "--simulate", "--no-install-recommends", "install", package];
    let plan = run(Command::new("apt-get").env("LC_ALL", "C").args(simulation))?;
    let wanted: Vec<_> = plan.lines().filter_map(wanted).collect();
    ensure!(!wanted.is_empty(), "apt-get would install nothing for {package}:\n{plan}");
    run(Command::new("apt-get").current_dir(downloads).args(["--quiet", "download"]).args(wanted)).map(drop)
}

/// The package in a line such as `Inst libev4 (1:4.33-1 Debian:12 [amd64])`.
fn wanted(line: &str) -> Option<&str> {
    line.strip_prefix("Inst ")?.split(' ').next()
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_a_plan_are_found() {
        let plan = "Reading package lists...\nInst libev4 (1:4.33-1 Debian:12.15/oldstable [amd64])\n\
                    Inst libnghttp2-14 [1.52.0-1] (1.52.0-2 Debian:12 [amd64])\nConf libev4 (1:4.33-1 Debian:12 [amd64])\n";
        assert_eq!(plan.lines().filter_map(wanted).collect::<Vec<_>>(), ["libev4", "libnghttp2-14"]);
    }
}
