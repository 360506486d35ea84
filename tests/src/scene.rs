//! One test's world: a folder for its documents and logs, and the logs' last lines when the test fails.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::process::last_lines;

const SHOWN_LINES: usize = 40;

/// A folder that is gone afterwards, and what was written to `*.log` in it shown if the test fails.
#[derive(Debug)]
pub struct Scene {
    folder: TempDir,
    succeeded: bool,
}

impl Scene {
    /// Runs one test. The programs that it starts should be owned by `test`, so that they end before the scene does.
    pub fn play(test: impl FnOnce(&Scene) -> Result<()>) -> Result<()> {
        let folder = tempfile::Builder::new()
            .prefix("spillway-")
            .tempdir()
            .context("no folder for temporary files")?;
        let mut scene = Self { folder, succeeded: false };
        test(&scene)?;
        scene.succeeded = true;
        Ok(())
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path for a program's output.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if self.succeeded {
            return;
        }
        let Ok(entries) = fs::read_dir(self.folder.path()) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = fs::read(&path).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                eprintln!("--- the end of {name}\n{}", last_lines(&text, SHOWN_LINES).join("\n"));
            }
        }
    }
}
