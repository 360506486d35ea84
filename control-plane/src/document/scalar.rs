//! What a plain scalar means: the core schema of YAML 1.2.2, section 10.3.2.
//!
//! So `yes`, `on`, `1_000` and `2024-01-01` are strings, and only `true`, `null` and their like are not.

use std::fmt;

/// A plain scalar's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    /// `None` where it does not fit.
    Integer(Option<i128>),
    Float(f64),
    Text(&'a str),
}

impl<'a> Scalar<'a> {
    /// The value of a scalar that was written without quotes.
    pub(crate) fn plain(text: &'a str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            _ => {}
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits(unsigned) {
            return Self::Integer(text.parse().ok());
        }
        for (prefix, radix) in [("0o", 8), ("0x", 16)] {
            if let Some(number) = text.strip_prefix(prefix)
                && !number.is_empty()
                && number.chars().all(|c| c.is_digit(radix))
            {
                return Self::Integer(i128::from_str_radix(number, radix).ok());
            }
        }
        if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
            return Self::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        let (mantissa, exponent) =
            unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
        let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
        let is_float = match fraction {
            None | Some("") => digits(whole),
            Some(fraction) => digits(fraction) && (whole.is_empty() || digits(whole)),
        } && exponent
            .is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)));
        match text.parse() {
            Ok(number) if is_float => Self::Float(number),
            _ => Self::Text(text),
        }
    }
}

/// As an error names what it found.
impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => write!(f, "`{value}`"),
            Self::Integer(Some(value)) => write!(f, "the number {value}"),
            Self::Integer(None) => f.write_str("a number out of all bounds"),
            Self::Float(value) => write!(f, "the number {value}"),
            Self::Text(text) => write!(f, "the string {text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_core_schema_says_is_not_a_string() {
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "1_000",
            "2024-01-01",
            "0b1",
            "1:30",
            "+",
            "-",
            ".",
            "1e",
            "e1",
            "0x",
            "0o8",
            "tRUE",
            "1.2.3",
            "inf",
            "nan",
            "infinity",
            "..",
            ".e1",
            "- 1",
        ] {
            assert_eq!(Scalar::plain(text), Scalar::Text(text), "{text}");
        }
        for (text, number) in [("0", 0), ("-1", -1), ("+7", 7), ("007", 7), ("0o17", 15), ("0xfF", 255)] {
            assert_eq!(Scalar::plain(text), Scalar::Integer(Some(number)), "{text}");
        }
        for (text, number) in [
            ("1.5", 1.5),
            ("1.", 1.0),
            (".5", 0.5),
            ("-1e3", -1000.0),
            ("+1.5E-1", 0.15),
            ("-.inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(Scalar::plain(text), Scalar::Float(number), "{text}");
        }
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(Scalar::plain(text), Scalar::Null, "{text}");
        }
        assert_eq!(Scalar::plain("True"), Scalar::Bool(true));
        assert_eq!(Scalar::plain(&"9".repeat(50)), Scalar::Integer(None));
    }
}
