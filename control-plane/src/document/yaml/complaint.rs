//! What the parser of YAML complains about, in a user's words and where a user would look.

use saphyr_parser::{ScanError, Span};

use super::{MAX_DEPTH, UNKNOWN_ANCHOR, place};
use crate::document::diagnostic::Problem;
use crate::document::tree::Place;

/// The parser's complaint in a user's words.
pub(super) fn problem(text: &str, error: &ScanError) -> Problem {
    let at = place(Span::empty(*error.marker()));
    let info = error.info();
    let not_yaml = |what: &str| Problem::new(format!("not valid YAML: {what}"));
    if info.contains("tab") {
        let from = usize::try_from(at.line).unwrap_or(usize::MAX).saturating_sub(1);
        // The parser names the start of the value before; the tab itself is what has to be found.
        let tab = text.lines().enumerate().skip(from).find_map(|(index, line)| {
            let blank = line.len() - line.trim_start().len();
            let column = line.get(..blank)?.find('\t')?;
            Some(Place {
                line: u32::try_from(index + 1).ok()?,
                column: u32::try_from(column + 1).ok()?,
                length: 1,
            })
        });
        return not_yaml("a tab cannot indent").at(tab.unwrap_or(at)).help("indent with spaces");
    }
    let problem = match info {
        _ if info.contains("unexpected end of stream") => {
            not_yaml("the quotes that start here are never closed")
        }
        _ if info.contains("simple key expect") => {
            return not_yaml("a key without `:`").at(last_word_before(text, at).unwrap_or(at));
        }
        _ if info.contains("mapping values are not allowed") => not_yaml("a `:` where no key can be")
            .help("quote a value that contains `: `, and check the indentation"),
        _ if info.contains("unknown anchor") => {
            Problem::new(UNKNOWN_ANCHOR).help("quote a value that starts with `*`")
        }
        _ if info.contains("recursion limit") => {
            Problem::new(format!("values nest deeper than {MAX_DEPTH} levels"))
        }
        _ => not_yaml(info),
    };
    problem.at(at)
}

/// The line above a place before which its own line is blank, without its indentation.
fn last_word_before(text: &str, place: Place) -> Option<Place> {
    let index = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
    let own = text.lines().nth(index).unwrap_or_default();
    if !own.chars().take(column).all(char::is_whitespace) {
        return None;
    }
    let above = text.lines().enumerate().take(index);
    let (index, line) =
        above.filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#')).last()?;
    let word = line.trim();
    let saturate = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some(Place {
        line: saturate(index + 1),
        column: saturate(line.chars().take_while(|c| c.is_whitespace()).count() + 1),
        length: saturate(word.chars().count()),
    })
}
