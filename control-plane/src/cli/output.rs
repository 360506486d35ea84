//! How client commands show what they found: tables for people, YAML and JSON for programs.

use std::fmt::{Display, Write as _};
use std::io::{IsTerminal, Write as _};

use serde::Serialize;

use crate::api::yaml;

/// How to show the result. A flag of every command that shows something.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Output {
    /// How to show the result
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Format,
}

/// The forms that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl Output {
    /// Shows `value`, as a table by what `table` makes of it.
    pub(super) fn show<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let text = match self.output {
            Format::Table => table(value),
            Format::Yaml => yaml::text(&serde_json::to_value(value)?),
            Format::Json => format!("{:#}\n", serde_json::to_value(value)?),
        };
        print(&text)
    }
}

/// Writes to standard output; that nobody reads on (`| head`) is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Rows under headings, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows = std::iter::once(headings.map(str::to_owned)).chain(rows);
    columns(rows.map(Vec::from).collect())
}

/// The same where the number of columns is not known before; the first row has the headings.
pub(super) fn columns(mut rows: Vec<Vec<String>>) -> String {
    let mut widths = vec![0; rows.iter().map(Vec::len).max().unwrap_or(0)];
    for row in &mut rows {
        for cell in row.iter_mut() {
            *cell = printable(cell);
        }
        for (width, cell) in widths.iter_mut().zip(row.iter()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What stood in a document or came from a proxy must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Colours, where they are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    /// For standard output: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or the terminal is dumb.
    pub(super) fn stdout() -> Self {
        Self { on: std::io::stdout().is_terminal() && wanted() }
    }

    /// The same for standard error.
    pub(super) fn stderr() -> Self {
        Self { on: std::io::stderr().is_terminal() && wanted() }
    }

    /// Whether there are any.
    pub(super) fn is_on(self) -> bool {
        self.on
    }

    /// None at all.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { on: false }
    }

    /// For what is good, or added.
    pub(super) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// For what is bad, or removed.
    pub(super) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// For what waits, or changed.
    pub(super) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// For headings.
    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Errors in documents as they are shown: the word `error` and what points at the place stand out.
    fn errors(self, shown: &str) -> String {
        let line = |line: &str| {
            if let Some(message) = line.strip_prefix("error: ") {
                return format!("{}: {}", self.red("error"), self.bold(message));
            }
            match line.rsplit_once(' ') {
                Some((before, carets)) if !carets.is_empty() && carets.trim_matches('^').is_empty() => {
                    format!("{before} {}", self.red(carets))
                }
                _ => line.to_owned(),
            }
        };
        shown.split('\n').map(line).collect::<Vec<_>>().join("\n")
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Shows errors in documents on standard error.
pub(super) fn print_errors(errors: impl Display) {
    eprintln!("{}", Paint::stderr().errors(&errors.to_string()));
}

/// Whether standard output is a terminal of which the whole screen can be drawn on.
pub(super) fn is_whole_screen() -> bool {
    std::io::stdout().is_terminal() && !is_dumb()
}

/// Whether standard error can be drawn on again where something stands already.
pub(super) fn is_screen() -> bool {
    std::io::stderr().is_terminal() && !is_dumb()
}

fn wanted() -> bool {
    !is_dumb() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_steer_no_terminal() {
        let rows = [["a".into(), "x\u{1b}[31m".into()], ["größer".into(), String::new()]];
        assert_eq!(table(["N", "VALUE"], rows), "N        VALUE\na        x [31m\ngrößer\n");
    }

    #[test]
    fn what_goes_into_a_pipe_has_no_colours() {
        assert_eq!(Paint { on: false }.red("x"), "x");
        assert_eq!(Paint { on: true }.red("x"), "\u{1b}[31mx\u{1b}[0m");
    }

    #[test]
    fn errors_are_coloured_and_say_the_same() {
        let shown = "error: unknown\n --> a.yaml:1:1\n  |\n1 | x ^\n  | ^^\n  = field: x\n\n1 error";
        assert_eq!(Paint { on: false }.errors(shown), shown);
        let coloured = Paint { on: true }.errors(shown);
        assert!(
            coloured.starts_with("\u{1b}[31merror\u{1b}[0m: \u{1b}[1munknown\u{1b}[0m\n"),
            "{coloured:?}"
        );
        assert!(coloured.contains("  | \u{1b}[31m^^\u{1b}[0m\n"), "{coloured:?}");
        let plain = ["\u{1b}[31m", "\u{1b}[1m", "\u{1b}[0m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(plain, shown);
    }
}
