//! A terminal with nobody before it: what a program shows on one, byte for byte.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Runs a command to its end with all three streams on a terminal of its own. Gives everything that it wrote there.
pub fn run(mut command: Command) -> Result<(ExitStatus, String)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no terminal")?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = std::ffi::OsString::from_vec(ptsname(&ours, Vec::new())?.into_bytes());
    let theirs: OwnedFd = File::options().read(true).write(true).open(name)?.into();
    command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    // Whoever holds the other end keeps the terminal open, and the command holds three copies.
    drop(command);
    let mut shown = Vec::new();
    match File::from(ours).read_to_end(&mut shown) {
        // Linux says so when the other end is closed.
        Err(error) if error.raw_os_error() != Some(Errno::IO.raw_os_error()) => {
            return Err(io::Error::into(error));
        }
        _ => {}
    }
    Ok((child.wait()?, String::from_utf8_lossy(&shown).into_owned()))
}
