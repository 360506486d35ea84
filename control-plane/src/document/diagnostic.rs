//! Errors as people read them: what, where, in which document and field, and what to do about it.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Serialize, Serializer};

use super::tree::Place;

/// An error within one text, before it is known which file that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Option<Place>,
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { place: None, field: String::new(), message: message.into(), help: None }
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A file's name and, where it could be read, its text.
#[derive(Debug)]
pub struct Source {
    name: PathBuf,
    text: String,
    /// Where lines start, once somebody asks: a file with many errors is not searched for each.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    /// A text that was read from `name`.
    pub fn new(name: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// The file.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// What was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A line without its end, counted from 1.
    fn line(&self, number: u32) -> Option<&str> {
        let starts = self.lines.get_or_init(|| {
            let ends = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(ends).collect()
        });
        let start = *starts.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
        self.text.get(start..)?.lines().next()
    }

    /// A problem of this text as it is reported.
    pub(crate) fn diagnostic(&self, document: &str, problem: Problem) -> Diagnostic {
        let Problem { place, field, message, help } = problem;
        let excerpt = place.and_then(|place| Excerpt::of(self.line(place.line)?, place));
        Diagnostic {
            file: self.name.clone(),
            place,
            document: document.to_owned(),
            field,
            message,
            help,
            excerpt,
        }
    }
}

/// One error in the documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file it is in.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Where in the file; `None` where the whole file is meant.
    #[serde(flatten, serialize_with = "line_and_column")]
    pub place: Option<Place>,
    /// Kind and name of the document, as far as they are known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub document: String,
    /// The path of the field, such as `spec.rules[0].backendRefs[1].weight`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// What may be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn line_and_column<S: Serializer>(place: &Option<Place>, serializer: S) -> Result<S::Ok, S::Error> {
    let place = place.map(|place| [("line", place.line), ("column", place.column)]);
    serializer.collect_map(place.into_iter().flatten())
}

impl Diagnostic {
    /// An error about a whole file.
    pub(crate) fn of_file(file: impl Into<PathBuf>, problem: Problem) -> Self {
        Source::new(file, "").diagnostic("", problem)
    }

    /// What the order of a report goes by.
    pub(crate) fn position(&self) -> (&Path, Option<Place>) {
        (&self.file, self.place)
    }

    /// The whole error in one line, for logs.
    pub fn one_line(&self) -> String {
        let mut line = self.location();
        for part in [&self.document, &self.field] {
            if !part.is_empty() {
                let _ = write!(line, ": {}", Safe(part));
            }
        }
        let _ = write!(line, ": {}", Safe(&self.message));
        if let Some(help) = &self.help {
            let _ = write!(line, " ({})", Safe(help));
        }
        line
    }

    fn location(&self) -> String {
        let file = Safe(&self.file.to_string_lossy()).to_string();
        self.place.map_or(file.clone(), |place| format!("{file}:{}:{}", place.line, place.column))
    }
}

/// As rustc shows errors: several lines, the last one ended.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", Safe(&self.message))?;
        let width = self.place.map_or(1, |place| place.line.to_string().len());
        writeln!(f, "{:width$}--> {}", "", self.location())?;
        if let (Some(place), Some(Excerpt { line, before, caret })) = (self.place, &self.excerpt) {
            writeln!(f, "{:width$} |", "")?;
            writeln!(f, "{} | {line}", place.line)?;
            writeln!(f, "{:width$} | {:before$}{}", "", "", "^".repeat(*caret))?;
        }
        if !self.document.is_empty() {
            writeln!(f, "{:width$} = document: {}", "", Safe(&self.document))?;
        }
        if !self.field.is_empty() {
            writeln!(f, "{:width$} = field: {}", "", Safe(&self.field))?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{:width$} = help: {}", "", Safe(help))?;
        }
        Ok(())
    }
}

/// The line that an error is in, made safe to print, and where to point.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: String,
    before: usize,
    caret: usize,
}

/// Longer lines are cut around the place.
const MAX_EXCERPT: usize = 120;

impl Excerpt {
    fn of(line: &str, place: Place) -> Option<Self> {
        let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
        let start = if column + 40 < MAX_EXCERPT { 0 } else { column - 40 };
        // One character on the screen for one in the text, so that the caret stays under its place.
        let shown: String = line
            .chars()
            .skip(start)
            .take(MAX_EXCERPT)
            .map(|c| if is_harmless(c) { c } else { '\u{fffd}' })
            .collect();
        let shown = shown.trim_end().replace('\t', " ");
        let before = column - start;
        let rest = shown.chars().count().saturating_sub(before);
        let caret = usize::try_from(place.length).unwrap_or(1).clamp(1, rest.max(1));
        Some(Self { line: shown, before, caret })
    }
}

/// Text from outside, with what could change a terminal or reorder a line spelled out.
pub(crate) struct Safe<'a>(pub(crate) &'a str);

impl fmt::Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if is_harmless(c) { f.write_char(c) } else { write!(f, "{}", c.escape_unicode()) }
        })
    }
}

fn is_harmless(c: char) -> bool {
    let reorders = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}');
    c == '\t' || !(c.is_control() || reorders)
}

#[cfg(test)]
mod tests;
