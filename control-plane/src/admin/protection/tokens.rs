//! Tokens from a file that may be replaced at any time.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// Shorter tokens could be guessed.
const MIN_LENGTH: usize = 16;

/// The file gives no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It can't be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is no token.
    #[error("{}:{line}: {reason}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What was expected.
        reason: &'static str,
    },
    /// There is none in it.
    #[error("{}: there is no token in it", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
}

/// The tokens of a file: one a line, alone or behind the name of whom it is for. Empty lines and those that start with `#` do not count.
///
/// The file is looked at when a token is to be checked. One that can't be used any more leaves the last good tokens in force.
#[derive(Debug)]
pub struct Tokens {
    file: PathBuf,
    state: Mutex<State>,
}

struct State {
    seen: Option<Fingerprint>,
    tokens: Vec<Token>,
}

/// Tokens are not for logs.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

struct Token {
    name: Option<String>,
    digest: [u8; 32],
}

/// Changes when the file does.
type Fingerprint = (u64, u64, u64, i64, i64);

impl Tokens {
    /// Reads the file for the first time.
    pub fn read(file: PathBuf) -> Result<Self, TokensError> {
        let seen = fs::metadata(&file).ok().as_ref().map(fingerprint);
        let tokens = load(&file)?;
        Ok(Self { file, state: Mutex::new(State { seen, tokens }) })
    }

    /// Whose token this is: `None` if it is nobody's, `Some(None)` if it has no name.
    #[expect(clippy::option_option, reason = "whether it is known, and whether it has a name")]
    pub(super) fn owner(&self, token: &str) -> Option<Option<String>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = fs::metadata(&self.file).ok().as_ref().map(fingerprint);
        if seen != state.seen {
            state.seen = seen;
            match load(&self.file) {
                Ok(tokens) => {
                    tracing::info!(file = %self.file.display(), tokens = tokens.len(), "new tokens are in force");
                    state.tokens = tokens;
                }
                Err(error) => {
                    tracing::error!(%error, "the tokens can't be read: the last ones stay in force");
                }
            }
        }
        let digest = digest(token);
        // Every token is looked at, whichever fits; and how far two digests agree tells nothing about a token.
        let mut owner = None;
        for known in &state.tokens {
            let differs = known.digest.iter().zip(&digest).fold(0, |differs, (a, b)| differs | (a ^ b));
            if std::hint::black_box(differs) == 0 {
                owner = Some(known.name.clone());
            }
        }
        owner
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn fingerprint(metadata: &Metadata) -> Fingerprint {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

fn load(file: &PathBuf) -> Result<Vec<Token>, TokensError> {
    let text =
        fs::read_to_string(file).map_err(|source| TokensError::Unreadable { file: file.clone(), source })?;
    let mut tokens = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason| TokensError::Line { file: file.clone(), line: at + 1, reason };
        let mut words = line.split_whitespace().rev();
        let (token, name) = (words.next().unwrap_or_default(), words.next());
        if words.next().is_some() {
            return Err(wrong("expected a token, or a name and a token"));
        }
        if token.len() < MIN_LENGTH {
            return Err(wrong("a token has at least 16 characters; `openssl rand -hex 32` makes a good one"));
        }
        tokens.push(Token { name: name.map(ToOwned::to_owned), digest: digest(token) });
    }
    if tokens.is_empty() { Err(TokensError::Empty { file: file.clone() }) } else { Ok(tokens) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbb";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_token_is_known_by_its_name_and_no_other_is_known() {
        let file = file(&format!("# people\nalice {A}\n\n{B}\n"));
        let tokens = Tokens::read(file.path().into()).unwrap();
        assert_eq!(tokens.owner(A), Some(Some("alice".into())));
        assert_eq!(tokens.owner(B), Some(None));
        for wrong in ["", "alice", &A[1..], &format!("{A}a")] {
            assert_eq!(tokens.owner(wrong), None, "{wrong:?}");
        }
        assert!(!format!("{tokens:?}").contains(A));
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let file = file(A);
        let tokens = Tokens::read(file.path().into()).unwrap();
        fs::write(file.path(), format!("{B}\n")).unwrap();
        assert_eq!((tokens.owner(A), tokens.owner(B)), (None, Some(None)));
        fs::write(file.path(), "short").unwrap();
        assert_eq!(tokens.owner(B), Some(None));
        fs::remove_file(file.path()).unwrap();
        assert_eq!(tokens.owner(B), Some(None));
        fs::write(file.path(), A).unwrap();
        assert_eq!(tokens.owner(A), Some(None));
    }

    #[test]
    fn what_is_no_token_is_refused_by_its_line() {
        for (text, error) in [
            ("\nshort\n", ":2: a token has at least"),
            ("a b c\n", ":1: expected a token"),
            ("#\n", ": there is no token"),
        ] {
            let file = file(text);
            let message = Tokens::read(file.path().into()).unwrap_err().to_string();
            assert!(message.contains(error), "{message}");
        }
    }
}
