//! Bytes of a file to text that YAML may be written in.

use super::diagnostic::Problem;
use super::tree::Place;

/// The largest file that is read, in bytes. Ten thousand documents fit in four files of this size.
pub const MAX_BYTES: usize = 4 << 20;

/// Reads bytes as UTF-8 text without its byte order mark.
pub(crate) fn decode(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problem::new("the file is UTF-16, not UTF-8").help("save it as UTF-8"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (before, rest) = bytes.split_at(error.valid_up_to());
        let byte = rest.first().copied().unwrap_or_default();
        // Everything before the offending byte is valid; lossy only spells that out.
        let place = end_of(&String::from_utf8_lossy(before));
        let message = if bytes.contains(&0) {
            "this is no text: it is a binary file, or not UTF-8".to_owned()
        } else {
            format!("the byte 0x{byte:02x} is not UTF-8")
        };
        Problem::new(message).at(place).help("save the file as UTF-8")
    })?;
    let odd = |(_, c): &(usize, char)| !is_printable(*c);
    // A NUL says more about what the file is than what may stand before it.
    let nul = text.find('\0').map(|at| (at, '\0'));
    match nul.or_else(|| text.char_indices().find(odd)) {
        None => Ok(text),
        Some((at, c)) => {
            let place = end_of(text.get(..at).unwrap_or_default());
            let problem = match c {
                '\0' => Problem::new("a NUL character: this is a binary file, or UTF-16")
                    .help("save the file as UTF-8"),
                _ => {
                    Problem::new(format!("the control character U+{:04X} cannot stand in YAML", u32::from(c)))
                        .help("within double quotes it can be written as an escape")
                }
            };
            Err(problem.at(place))
        }
    }
}

/// The refusal of a file of so many bytes.
pub(crate) fn too_large(bytes: u64) -> Problem {
    #[expect(clippy::cast_precision_loss, reason = "one decimal of a size in MiB")]
    let mib = bytes as f64 / f64::from(1 << 20);
    Problem::new(format!(
        "the file has {mib:.1} MiB ({bytes} bytes); at most {} MiB are read",
        MAX_BYTES >> 20
    ))
    .help("split the documents over several files")
}

/// The place just behind `text`.
fn end_of(text: &str) -> Place {
    let line = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let saturate = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: saturate(line), column: saturate(column), length: 1 }
}

/// `c-printable` of YAML 1.2.2, section 5.1.
fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_content() {
        assert_eq!(decode(b"\xef\xbb\xbfa: 1").unwrap(), "a: 1");
        assert_eq!(decode("grüße: 1\r\n".as_bytes()).unwrap(), "grüße: 1\r\n");
    }

    #[test]
    fn what_is_no_text_is_refused_at_its_place() {
        let refused = |bytes: &[u8]| {
            let problem = decode(bytes).unwrap_err();
            (problem.message, problem.place.map(|place| (place.line, place.column)))
        };
        assert_eq!(refused(b"\xff\xfea\0"), ("the file is UTF-16, not UTF-8".into(), None));
        assert_eq!(refused(b"a: 1\nb: \xe9t\xe9"), ("the byte 0xe9 is not UTF-8".into(), Some((2, 4))));
        assert_eq!(refused("é: \u{7}".as_bytes()).1, Some((1, 4)));
        assert!(refused(b"a\0b").0.contains("NUL"), "{:?}", refused(b"a\0b"));
        assert!(refused(b"\x7fELF\x02\0\0\xf0\x9f").0.contains("binary"));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_with_its_size() {
        let problem = decode(&vec![b' '; 10 << 20]).unwrap_err();
        assert_eq!(problem.message, "the file has 10.0 MiB (10485760 bytes); at most 4 MiB are read");
    }
}
