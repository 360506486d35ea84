//! A terminal with nobody before it: what a program shows on one, byte for byte or as it looks, and what it does when keys are pressed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use vt100::Parser;

use crate::wait;

/// Runs a command to its end with all three streams on a terminal of its own. Gives everything that it wrote there.
pub fn run(mut command: Command) -> Result<(ExitStatus, String)> {
    let (ours, theirs) = pair()?;
    command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    // Whoever holds the other end keeps the terminal open, and the command holds three copies.
    drop(command);
    let mut shown = Vec::new();
    read(ours, |bytes| shown.extend_from_slice(bytes))?;
    Ok((child.wait()?, String::from_utf8_lossy(&shown).into_owned()))
}

/// The two ends of a terminal: a reader's, and the one that a program has.
fn pair() -> Result<(File, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no terminal")?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = std::ffi::OsString::from_vec(ptsname(&ours, Vec::new())?.into_bytes());
    let mut options = File::options();
    // It is the program's terminal, not this process's.
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, OpenptFlags::NOCTTY.bits().cast_signed());
    Ok((ours.into(), options.read(true).write(true).open(name)?.into()))
}

/// Reads until the other end is closed.
fn read(mut ours: File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        match ours.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => take(bytes.get(..count).unwrap_or_default()),
            // Linux says so when the other end is closed.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A terminal on which a program runs. The program is killed when this is dropped.
pub struct Terminal {
    keys: File,
    /// Kept open, so that what the program left behind can be looked at after its end.
    theirs: OwnedFd,
    screen: Arc<Mutex<Parser>>,
    reader: Option<JoinHandle<()>>,
    child: std::process::Child,
}

impl Terminal {
    /// Runs a command on one of this many lines and columns.
    pub fn start(command: &Command, lines: u16, columns: u16) -> Result<Self> {
        let (ours, theirs) = pair()?;
        tcsetwinsize(&theirs, size(lines, columns))?;
        let screen = Arc::new(Mutex::new(Parser::new(lines, columns, 0)));
        let mut wrapped = Command::new("setpriv");
        // The first one ends the program with this thread, the second makes the terminal its own, which is told of changes of its size.
        wrapped.args(["--pdeathsig", "KILL", "--", "setsid", "--ctty"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(variable, value),
                None => wrapped.env_remove(variable),
            };
        }
        let stream = || theirs.try_clone().map(Stdio::from);
        wrapped.stdin(stream()?).stdout(stream()?).stderr(stream()?);
        let child = wrapped.spawn().context("cannot run setpriv and setsid: install util-linux")?;
        drop(wrapped);
        let (keys, shown) = (ours.try_clone()?, Arc::clone(&screen));
        let reader = thread::spawn(move || {
            let _ = read(ours, |bytes| shown.lock().unwrap_or_else(PoisonError::into_inner).process(bytes));
        });
        Ok(Self { keys, theirs, screen, reader: Some(reader), child })
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    /// Gives it another size.
    pub fn resize(&mut self, lines: u16, columns: u16) -> Result<()> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen_mut().set_size(lines, columns);
        Ok(tcsetwinsize(&self.theirs, size(lines, columns))?)
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
        Ok(kill_process(id, signal)?)
    }

    /// What stands on it now, line by line.
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// Waits until something stands on it.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&str) -> bool) -> Result<String> {
        wait::until(what, || {
            let screen = self.screen();
            ensure!(holds(&screen), "the screen shows\n{screen}");
            Ok(screen)
        })
    }

    /// Waits for the program's end; an error if it leaves the terminal otherwise than it was: with keys that are not shown, or with its own screen.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let status = wait::until("the program's end", || {
            self.child.try_wait()?.with_context(|| format!("it goes on and shows\n{}", self.screen()))
        })?;
        let modes = tcgetattr(&self.theirs)?.local_modes;
        ensure!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "keys are still read one by one");
        wait::until("the screen from before", || {
            let parser = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            let screen = parser.screen();
            ensure!(!screen.alternate_screen() && !screen.hide_cursor(), "it left its screen behind");
            Ok(())
        })?;
        Ok(status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader ends when nobody has the other end any more, which is after this.
        drop(self.reader.take());
    }
}

fn size(lines: u16, columns: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
