//! Completions, as the shells themselves see them.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::control_plane::run;
use spillway_tests::scene::Scene;

/// A shell with a script that loads the completions from `$1` and prints what completes `spillway roll` and `spillway apply --dry`.
const SHELLS: [(&str, &[&str], &str); 3] = [
    (
        "bash",
        &["--norc", "-c"],
        r#"source "$1"
           complete() { for word; do :; done; COMP_WORDS=(spillway "${@:2}"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _spillway spillway "$word" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\n' "${COMPREPLY[@]}"; }
           complete spillway roll; complete spillway apply --dry"#,
    ),
    (
        "zsh",
        &["-f", "-c"],
        // What completes is asked of a shell on a terminal of its own, because only there zsh completes.
        r#"zmodload zsh/zpty
           zpty z zsh -f -i
           zpty -w z "autoload -Uz compinit; compinit -u -D; source '$1'; PS1=; bindkey '^I' complete-word; print rea''dy"
           zpty -r -m z shown '*ready*'
           zpty -w -n z $'spillway roll\t'
           zpty -r -m z shown '*rollback*' && print -r -- "$shown"
           zpty -w -n z $'\C-uspillway apply --dry\t'
           zpty -r -m z shown '*--dry-run*' && print -r -- "$shown"
           zpty -d z"#,
    ),
    (
        "fish",
        &["--no-config", "-c"],
        r#"source $argv[1]; complete -C "spillway roll"; complete -C "spillway apply --dry""#,
    ),
];

#[test]
fn shells_complete_commands_and_flags() -> Result<()> {
    Scene::play(|scene| {
        let mut tried = Vec::new();
        for (shell, flags, script) in SHELLS {
            let output = run(&["completions", shell])?;
            ensure!(output.status.success(), "{shell}");
            if Command::new(shell).arg("--version").output().is_err() {
                println!("{shell} is not installed: what it would complete was not tried");
                continue;
            }
            let file = scene.folder().join(shell);
            std::fs::write(&file, output.stdout)?;
            let path = file.to_str().context("a path that is not UTF-8")?;
            // bash and zsh name the script's zeroth argument first.
            let zeroth: &[&str] = if shell == "fish" { &[] } else { &["-"] };
            let output = Command::new(shell).args(flags).arg(script).args(zeroth).arg(path).output()?;
            let shown = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            ensure!(shown.contains("rollback") && shown.contains("--dry-run"), "{shell}: {shown:?}");
            tried.push(shell);
        }
        // Debian's installation always has it.
        ensure!(tried.contains(&"bash"), "{tried:?}");
        for shell in ["elvish", "powershell"] {
            let output = run(&["completions", shell])?;
            ensure!(String::from_utf8(output.stdout)?.contains("rollback"), "{shell}");
        }
        Ok(())
    })
}
