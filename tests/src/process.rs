//! Child processes that end with their owner, however it ends.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A running program, whose output goes to a file.
///
/// It is killed on drop; and the kernel kills it when the thread that started it ends without dropping it, be it by SIGKILL
/// (`setpriv --pdeathsig`). So a process belongs to the thread that started it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`. Output is appended to `log`, both streams in one file, so that a restarted program's is kept.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Self> {
        Self::run(name, Command::new(program).args(arguments), log)
    }

    /// The same with a command: its program, its arguments and what it changes in the environment, and nothing else of it.
    pub fn run(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut wrapped = Command::new("setpriv");
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(variable, value),
                None => wrapped.env_remove(variable),
            };
        }
        let child = wrapped
            .args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: Ctrl-C reaches the owner alone, which then ends its children in the order it likes.
            .process_group(0)
            .spawn()
            .context("cannot run setpriv, which ends children with their parent: install util-linux")?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's own process id: `setpriv` becomes the program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error with the last lines of its output, if it has ended.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself ({status}):\n{}", self.name, self.last_lines(15)),
        }
    }

    /// Everything it has written so far.
    pub fn output(&self) -> String {
        fs::read(&self.log)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of what it has written.
    pub fn last_lines(&self, count: usize) -> String {
        last_lines(&self.output(), count).join("\n")
    }

    /// The memory that it has in use (resident), in bytes.
    pub fn memory(&self) -> Result<u64> {
        memory(self.id())
    }

    /// Waits until it ends by itself, however long that takes.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end; the error is that it did not come.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process(id, Signal::TERM)?;
        wait::until_within(Duration::from_secs(20), &format!("the end of {}", self.name), || {
            self.child.try_wait()?.with_context(|| format!("{} goes on after SIGTERM", self.name))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only fails if it has ended already, which is what is wanted.
        let _ = self.kill();
    }
}

/// The memory that a process has in use (resident), in bytes.
pub fn memory(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("the process is gone")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc/PID/status")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().context("unreadable VmRSS")?;
    Ok(kibibytes * 1024)
}

/// The last `count` lines of a text.
pub fn last_lines(text: &str, count: usize) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().rev().take(count).collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        (folder, log)
    }

    fn exists(id: u32) -> bool {
        Path::new(&format!("/proc/{id}")).exists()
    }

    #[test]
    fn a_process_ends_when_its_guard_is_dropped() {
        let (_folder, log) = log();
        let process = Process::start("sleeper", Path::new("sleep"), ["60"], &log).unwrap();
        let id = process.id();
        assert!(exists(id));
        drop(process);
        assert!(!exists(id));
    }

    #[test]
    fn a_process_ends_with_the_thread_that_started_it_even_if_nothing_is_dropped() {
        let (_folder, log) = log();
        let id = std::thread::spawn(move || {
            let process = Process::start("sleeper", Path::new("sleep"), ["60"], &log).unwrap();
            // Until setpriv has become the program, it has not asked for the signal either.
            let command = format!("/proc/{}/comm", process.id());
            wait::until("setpriv to become sleep", || {
                anyhow::ensure!(fs::read_to_string(&command)?.trim() == "sleep");
                Ok(())
            })
            .unwrap();
            let id = process.id();
            std::mem::forget(process);
            id
        })
        .join()
        .unwrap();
        let stat = format!("/proc/{id}/stat");
        wait::until("the orphan's end", || match fs::read_to_string(&stat) {
            // Nobody waits for it, so it stays behind as a zombie.
            Ok(stat) if !stat.contains(") Z ") => bail!("still runs: {stat}"),
            _ => Ok(()),
        })
        .unwrap();
    }

    #[test]
    fn memory_is_that_of_the_process() {
        let held = vec![1_u8; 64 << 20];
        let with = memory(std::process::id()).unwrap();
        assert!(with > held.len() as u64, "{with}");
        drop(held);
        assert!(memory(std::process::id()).unwrap() < with);
        assert!(memory(u32::MAX).is_err());
    }

    #[test]
    fn a_process_that_ended_by_itself_is_reported_with_its_output() {
        let (_folder, log) = log();
        let mut process =
            Process::start("loser", Path::new("sh"), ["-c", "echo alas >&2; exit 3"], &log).unwrap();
        let error = wait::until("its end", || match process.alive() {
            Ok(()) => bail!("still alive"),
            Err(error) => Ok(error.to_string()),
        })
        .unwrap();
        assert!(error.contains("loser ended by itself (exit status: 3):\nalas"), "{error}");
    }
}
