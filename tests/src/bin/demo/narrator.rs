//! What the demo prints. Colours only where a person watches.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};

use spillway_tests::process::last_lines;

use crate::stage::Stage;

/// Prints the account.
pub(crate) struct Narrator {
    terminal: bool,
    colours: bool,
    steps: Cell<u32>,
}

impl Narrator {
    /// For standard output.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { terminal, colours, steps: Cell::new(0) }
    }

    /// Whether a person watches.
    pub(crate) fn terminal(&self) -> bool {
        self.terminal
    }

    /// A line as it is.
    pub(crate) fn say(text: &str) {
        println!("{text}");
    }

    /// The beginning of a step.
    pub(crate) fn step(&self, title: &str) {
        self.steps.set(self.steps.get() + 1);
        println!("\n{} {}", self.paint("1;36", &self.steps.get().to_string()), self.paint("1", title));
    }

    /// What is being done.
    pub(crate) fn doing(&self, text: &str) {
        println!("  {}", self.paint("2", text));
    }

    /// What was observed, and was as it should be.
    pub(crate) fn seen(&self, text: &str) {
        println!("  {} {text}", self.paint("32", "ok"));
    }

    /// A line that the next one overwrites; only for terminals.
    pub(crate) fn status(&self, text: &str) {
        if !self.terminal {
            return;
        }
        print!("\r\x1b[K  {text}");
        // A terminal that is gone ends the process by other means.
        let _ = std::io::stdout().flush();
    }

    /// What was not observed.
    pub(crate) fn failed(&self, step: &str, error: &anyhow::Error) {
        println!("\n{} {step}: {error:#}", self.paint("1;31", "FAILED"));
    }

    /// The end of every program's output.
    pub(crate) fn logs(&self, stage: &Stage) {
        for log in &stage.logs {
            let text = std::fs::read(log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            println!(
                "\n{}\n{}",
                self.paint("1", &log.display().to_string()),
                last_lines(&text, 20).join("\n")
            );
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `12345` as `12,345`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
