//! `cargo xtask fuzz`: builds the targets with the compiler's coverage counters and runs one under libFuzzer.
//!
//! All of it is on the stable toolchain: `-C passes` and `-C llvm-args` place the counters, the crate `libfuzzer-sys` brings the fuzzer (C++, so a C++ compiler is
//! needed). Our code is safe Rust, so there is no address sanitizer, which would need a nightly one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The targets, and whether the documents' feature is needed.
const TARGETS: [(&str, bool); 7] = [
    ("filter-configuration", false),
    ("path-templates", false),
    ("header-values", false),
    ("cookies", false),
    ("query-strings", false),
    ("documents", true),
    ("metrics", true),
];

/// What places a counter on each edge, as libFuzzer expects them.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// What `cargo xtask fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to fuzz
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS.map(|(name, _)| name)))]
    target: String,
    /// For so many seconds
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u32,
    /// So many fuzzers at once, sharing what they learn
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: u32,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let Options { target, seconds, jobs } = options;
    let program = build(TARGETS.iter().any(|(name, documents)| name == target && *documents))?;
    let folder = process::target().join("fuzz");
    let (corpus, findings) = (folder.join("corpus").join(target), folder.join("findings").join(target));
    let seeds = process::root().join("tests/fuzz/seeds").join(target);
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let before = files(&findings)?;
    let mut command = Command::new(&program);
    command
        .env("SPILLWAY_FUZZ_TARGET", target)
        .current_dir(process::root())
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        // One input may take half a gigabyte, and by the clock on the wall ten seconds, because the machine may have other things to do.
        .args(["-timeout=10", "-rss_limit_mb=512", "-print_final_stats=1", "-max_len=16384"])
        .args([&corpus, &seeds]);
    if *jobs > 1 {
        command.arg(format!("-fork={jobs}"));
    }
    eprintln!("fuzz: {target} for {seconds} s; what it learns is kept in {}", corpus.display());
    let outcome = process::run(&mut command);
    let found: Vec<PathBuf> = files(&findings)?.into_iter().filter(|file| !before.contains(file)).collect();
    match outcome {
        Ok(()) if found.is_empty() => {
            eprintln!("fuzz: {target}: nothing found");
            Ok(())
        }
        outcome => {
            for file in &found {
                eprintln!(
                    "fuzz: {target}: {} breaks it; mend it and keep the file in {}",
                    file.display(),
                    seeds.display()
                );
            }
            outcome?;
            bail!("{} inputs were found that break {target}", found.len())
        }
    }
}

/// Builds the fuzzer into a folder of its own: the counters are in every dependency.
fn build(documents: bool) -> Result<PathBuf> {
    if process::find("c++").is_none() && std::env::var_os("CXX").is_none() {
        bail!("libFuzzer is C++: install a C++ compiler (Debian: apt-get install g++), or set CXX");
    }
    let host = host()?;
    let name = if documents { "fuzz/documents" } else { "fuzz/policy" };
    let folder = process::target().join(name);
    let features = if documents { "libfuzzer,documents" } else { "libfuzzer" };
    let flags = [&COVERAGE[..], &["--cfg=fuzzing", "-Cdebug-assertions=on", "-Coverflow-checks=on"]].concat();
    let mut command = process::cargo();
    command
        .args(["build", "--quiet", "--locked", "--release", "--package", "spillway-fuzz", "--bin", "fuzz"])
        .args(["--no-default-features", "--features", features])
        // With a target named, the flags are not for build scripts and macros, which have no fuzzer to count for.
        .args(["--target", &host, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    eprintln!("fuzz: building");
    process::run(&mut command)?;
    Ok(folder.join(host).join("release/fuzz"))
}

fn host() -> Result<String> {
    let about = process::read(Command::new("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}
