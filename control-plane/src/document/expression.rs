//! Regular expressions, in the part of RE2's syntax that Envoy and this program read in the same way.
//!
//! Envoy compiles expressions with RE2 and refuses a whole listener or route configuration for one that it can't compile, or that becomes too long a program. What is accepted here
//! it can: constructs that RE2 does not know, or reads differently, are refused, and the length of the program is estimated from above.

use regex_lite::Regex;
use regex_syntax::ast::{
    Assertion, AssertionKind, Ast, ClassBracketed, ClassPerl, ClassSet, ClassSetItem, Flag, Flags,
    FlagsItemKind, Group, GroupKind, HexLiteralKind, Literal, LiteralKind, Repetition, RepetitionKind,
    RepetitionRange, parse,
};

/// How deep groups may be nested, and how often something may be repeated; RE2 has 1,000 for both.
const MAX_NESTING: u32 = 50;
const MAX_REPEATS: u32 = 1_000;

/// The longest program, in RE2's instructions by the estimate made here. The bootstrap lets Envoy compile [`MAX_PROGRAM_OF_ENVOY`].
const MAX_PROGRAM: u64 = 4_000;

/// What Envoys are told to accept. Their default of 100 is used up by an expression of 100 letters.
pub(crate) const MAX_PROGRAM_OF_ENVOY: u32 = 10_000;

/// In RE2 a class that is not plain ASCII becomes several ranges of bytes for each length of UTF-8.
const UNICODE_CLASS: u64 = 24;

/// Says what is wrong with an expression, if anything is.
pub(crate) fn check(expression: &str) -> Result<(), String> {
    let refuse = |reason: &str| Err(format!("expected a regular expression, found {expression:?}: {reason}"));
    if expression.is_empty() {
        return refuse("it is empty");
    }
    if expression.chars().any(char::is_control) {
        return refuse("it has a control character; write it as \\t or \\x{9}");
    }
    let ast = match parse::ParserBuilder::new().nest_limit(MAX_NESTING).build().parse(expression) {
        Ok(ast) => ast,
        Err(error) => return refuse(&error.kind().to_string()),
    };
    let mut walk = Walk { expression, repeats: 1 };
    match walk.size(&ast) {
        Err(reason) => refuse(&reason),
        Ok(size) if size > MAX_PROGRAM => {
            refuse(&format!("it becomes a program of up to {size} instructions, more than {MAX_PROGRAM}"))
        }
        // What is asked of requests by `explain`.
        Ok(_) if Regex::new(expression).is_err() => refuse("it is too long or too deep"),
        Ok(_) => Ok(()),
    }
}

/// Whether the whole of a text matches. Of an expression that [`check`] refuses nothing does.
pub(crate) fn matches(expression: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{expression})$")).is_ok_and(|regex| regex.is_match(text))
}

/// What every path that matches begins with, as far as it is written out; often nothing.
pub(crate) fn prefix(expression: &str) -> &str {
    let Ok(ast) = parse::Parser::new().parse(expression) else { return "" };
    let parts = match &ast {
        Ast::Concat(concat) => concat.asts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let end = |ast: &Ast| match ast {
        // The query begins with one of these, and is no part of a path.
        Ast::Literal(one) if one.kind == LiteralKind::Verbatim && !matches!(one.c, '?' | '#') => {
            Some(one.span.end.offset)
        }
        _ => None,
    };
    let end = parts.iter().map_while(end).last().unwrap_or(0);
    expression.get(..end).unwrap_or_default()
}

struct Walk<'e> {
    expression: &'e str,
    /// How often what is looked at is repeated by all that is around it.
    repeats: u32,
}

impl Walk<'_> {
    /// The instructions that something becomes at most, or why RE2 would not take it.
    fn size(&mut self, ast: &Ast) -> Result<u64, String> {
        Ok(match ast {
            Ast::Empty(_) => 1,
            Ast::Flags(set) => {
                flags(&set.flags)?;
                1
            }
            Ast::Literal(one) => {
                literal(one)?;
                letter(one.c)
            }
            Ast::Dot(_) => UNICODE_CLASS,
            Ast::Assertion(one) => {
                assertion(one)?;
                1
            }
            Ast::ClassUnicode(_) => return Err("classes such as \\pL are not supported".into()),
            Ast::ClassPerl(one) => perl(one),
            Ast::ClassBracketed(one) => bracketed(one)?,
            Ast::Repetition(one) => self.repetition(one)?,
            Ast::Group(one) => {
                group(one)?;
                self.size(&one.ast)?.saturating_add(2)
            }
            Ast::Alternation(some) => self.all(&some.asts, 2)?,
            Ast::Concat(some) => self.all(&some.asts, 0)?,
        })
    }

    fn all(&mut self, asts: &[Ast], each: u64) -> Result<u64, String> {
        asts.iter().try_fold(0_u64, |sum, ast| Ok(sum.saturating_add(self.size(ast)?).saturating_add(each)))
    }

    fn repetition(&mut self, Repetition { op, ast, .. }: &Repetition) -> Result<u64, String> {
        match &**ast {
            Ast::Repetition(_) => return Err("a repetition is repeated; put it into ( )".into()),
            Ast::Assertion(_) | Ast::Empty(_) | Ast::Flags(_) => {
                return Err("something that has no length is repeated".into());
            }
            _ => {}
        }
        let times = match &op.kind {
            RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
            RepetitionKind::Range(RepetitionRange::Exactly(times) | RepetitionRange::AtLeast(times)) => {
                *times
            }
            RepetitionKind::Range(RepetitionRange::Bounded(_, times)) => {
                let written = self.expression.get(op.span.start.offset..).unwrap_or_default();
                if written.trim_start_matches('{').trim_start().starts_with(',') {
                    return Err("write {0,n} for {,n}".into());
                }
                *times
            }
        };
        let around = self.repeats;
        self.repeats = around.saturating_mul(times.max(1));
        if self.repeats > MAX_REPEATS {
            return Err(format!("something is repeated more than {MAX_REPEATS} times"));
        }
        let size = self.size(ast)?;
        self.repeats = around;
        Ok(size.saturating_add(2).saturating_mul(u64::from(times) + 1))
    }
}

/// ASCII is a byte, or a class of a few with `(?i)`.
fn letter(letter: char) -> u64 {
    if letter.is_ascii() { 4 } else { UNICODE_CLASS }
}

fn literal(literal: &Literal) -> Result<(), String> {
    let is_known = match literal.kind {
        LiteralKind::Verbatim
        | LiteralKind::Meta
        | LiteralKind::Special(_)
        | LiteralKind::HexFixed(HexLiteralKind::X)
        | LiteralKind::HexBrace(HexLiteralKind::X) => true,
        LiteralKind::Superfluous => literal.c.is_ascii_punctuation() && literal.c != '_',
        LiteralKind::Octal | LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) => false,
    };
    is_known.then_some(()).ok_or_else(|| format!("{:?} can't be written like this", literal.c))
}

fn assertion(assertion: &Assertion) -> Result<(), String> {
    match assertion.kind {
        AssertionKind::StartLine
        | AssertionKind::EndLine
        | AssertionKind::StartText
        | AssertionKind::EndText
        | AssertionKind::WordBoundary
        | AssertionKind::NotWordBoundary => Ok(()),
        _ => Err("of the boundaries only \\b and \\B are supported".into()),
    }
}

fn flags(flags: &Flags) -> Result<(), String> {
    let is_known = flags.items.iter().all(|item| match item.kind {
        FlagsItemKind::Negation => true,
        FlagsItemKind::Flag(flag) => matches!(
            flag,
            Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed
        ),
    });
    is_known.then_some(()).ok_or_else(|| "of the flags only i, m, s and U are supported".into())
}

fn group(group: &Group) -> Result<(), String> {
    match &group.kind {
        GroupKind::CaptureIndex(_) => Ok(()),
        GroupKind::NonCapturing(set) => flags(set),
        GroupKind::CaptureName { starts_with_p, name } => {
            let is_plain = name.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            (*starts_with_p && is_plain)
                .then_some(())
                .ok_or_else(|| "a group's name is written (?P<name>...), of letters, digits and _".into())
        }
    }
}

fn perl(class: &ClassPerl) -> u64 {
    if class.negated { UNICODE_CLASS } else { 8 }
}

fn bracketed(class: &ClassBracketed) -> Result<u64, String> {
    let size = match &class.kind {
        ClassSet::Item(item) => set_item(item)?,
        ClassSet::BinaryOp(_) => {
            return Err("within [ ] the operators &&, -- and ~~ are not supported".into());
        }
    };
    Ok(if class.negated { size.saturating_add(UNICODE_CLASS) } else { size })
}

fn set_item(item: &ClassSetItem) -> Result<u64, String> {
    Ok(match item {
        ClassSetItem::Empty(_) => 1,
        ClassSetItem::Literal(one) => {
            literal(one)?;
            letter(one.c)
        }
        ClassSetItem::Range(range) => {
            literal(&range.start)?;
            literal(&range.end)?;
            letter(range.start.c).max(letter(range.end.c)).saturating_add(4)
        }
        ClassSetItem::Ascii(class) => {
            if class.negated {
                UNICODE_CLASS
            } else {
                8
            }
        }
        ClassSetItem::Unicode(_) => return Err("classes such as \\pL are not supported".into()),
        ClassSetItem::Perl(class) => perl(class),
        ClassSetItem::Bracketed(_) => return Err("within [ ] a [ is written \\[".into()),
        ClassSetItem::Union(union) => union
            .items
            .iter()
            .try_fold(0_u64, |sum, item| Ok::<_, String>(sum.saturating_add(set_item(item)?)))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_read_in_the_same_way_is_accepted() {
        for expression in [
            "/orders/[0-9]+",
            "/a/([^/]+)/b(/.*)?",
            "/(?i)a(?:b|c)*?",
            r"/a\.b\-c\/[\w.%-]+\d{2,3}[[:alpha:]]",
            "(?P<name>/x){3}",
            r"/a\x{41}\x41$",
            "/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+",
        ] {
            assert_eq!(check(expression), Ok(()), "{expression}");
        }
    }

    #[test]
    fn what_re2_would_refuse_or_read_otherwise_is_refused() {
        for expression in [
            "",
            "/a(",
            "/a)",
            "/[a",
            "/a**",
            "/a{2}{3}",
            "/^*",
            "/a{1001}",
            "/(a{100}){100}",
            "/a{,3}",
            "/(?=a)",
            r"/(a)\1",
            r"/\pL",
            r"/[\p{Greek}]",
            "/[a&&b]",
            "/[a--b]",
            "/[[a]]",
            "/(?x)a b",
            "/(?<n>a)",
            "/(?P<a.b>c)",
            r"/\b{start}a",
            r"/\_",
            r"/\u0041",
            "/a\tb",
            "/(?u)a",
            "/(?-u)a",
            "*",
            "/a|*",
            "/([^/]+/){900}",
        ] {
            assert!(check(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn the_whole_text_has_to_match() {
        assert!(matches("/a|/b", "/a") && matches("/a|/b", "/b"));
        assert!(!matches("/a|/b", "/ab") && !matches("/a", "/aa") && !matches("(", "("));
    }

    #[test]
    fn every_path_that_matches_begins_with_the_prefix() {
        for (expression, expected) in [
            ("/orders/[0-9]+", "/orders/"),
            ("/orders", "/orders"),
            ("/ordersx?", "/orders"),
            ("/a|/b", ""),
            ("(?i)/a", ""),
            ("/(?i)a", "/"),
            ("(/a)b", ""),
            (r"/a\.b.*", "/a"),
            (r"/a\?b", "/a"),
            ("[/]a", ""),
            ("", ""),
        ] {
            assert_eq!(prefix(expression), expected, "{expression}");
        }
    }
}
