//! Quantities as people write them: `250ms`, `100/s`, `64KiB`, `50%`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration as StdDuration;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// Why a quantity could not be read. The text says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

/// A length of time such as `250ms`, `2s`, `1m`, `24h`. Whole milliseconds, at most about 292 years; `0s` is allowed where zero means "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(StdDuration);

impl Duration {
    /// From whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(StdDuration::from_millis(millis))
    }

    /// As the standard library's duration.
    pub const fn get(self) -> StdDuration {
        self.0
    }

    /// In nanoseconds, saturating.
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether this is `0s`.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

const MAX_DURATION_MILLIS: u64 = u64::MAX / 1_000_000 / 2;

impl FromStr for Duration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected =
            || UnitError(format!("expected a duration such as 250ms, 2s, 1m or 24h, found {text:?}"));
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(expected()),
        };
        let millis =
            number.checked_mul(scale).filter(|millis| *millis <= MAX_DURATION_MILLIS).ok_or_else(expected)?;
        Ok(Self::from_millis(millis))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => f.write_str("0s"),
            _ if millis.is_multiple_of(3_600_000) => write!(f, "{}h", millis / 3_600_000),
            _ if millis.is_multiple_of(60_000) => write!(f, "{}m", millis / 60_000),
            _ if millis.is_multiple_of(1_000) => write!(f, "{}s", millis / 1_000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

/// So many per second, minute or hour: `100/s`, `6000/m`, `10/h`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    amount: NonZeroU32,
    per: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// How many in one period.
    pub const fn amount(self) -> NonZeroU32 {
        self.amount
    }

    /// The period's length in nanoseconds.
    pub const fn period_nanos(self) -> u64 {
        match self.per {
            Period::Second => 1_000_000_000,
            Period::Minute => 60_000_000_000,
            Period::Hour => 3_600_000_000_000,
        }
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected =
            || UnitError(format!("expected a rate above zero such as 100/s, 6000/m or 10/h, found {text:?}"));
        let (amount, per) = text.split_once('/').ok_or_else(expected)?;
        if !amount.bytes().all(|b| b.is_ascii_digit()) {
            return Err(expected());
        }
        let amount = amount.parse().map_err(|_| expected())?;
        let per = match per {
            "s" => Period::Second,
            "m" => Period::Minute,
            "h" => Period::Hour,
            _ => return Err(expected()),
        };
        Ok(Self { amount, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Period::Second => 's',
            Period::Minute => 'm',
            Period::Hour => 'h',
        };
        write!(f, "{}/{per}", self.amount)
    }
}

/// A share of a whole, `0%` to `100%`, with up to two decimals: `50%`, `0.5%`. Kept in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u16);

impl Ratio {
    /// `50%`.
    pub const HALF: Self = Self(5_000);
    /// `100%`.
    pub const WHOLE: Self = Self(10_000);

    /// The share in hundredths of a percent, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }
}

impl FromStr for Ratio {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected =
            || UnitError(format!("expected a ratio from 0% to 100% such as 50% or 0.5%, found {text:?}"));
        let number = text.strip_suffix('%').ok_or_else(expected)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 2 || whole.len() > 3 {
            return Err(expected());
        }
        let whole: u16 = whole.parse().map_err(|_| expected())?;
        let hundredths: u16 = decimals.parse().map_err(|_| expected())?;
        let hundredths = if decimals.len() == 1 { hundredths * 10 } else { hundredths };
        whole
            .checked_mul(100)
            .and_then(|points| points.checked_add(hundredths))
            .filter(|points| *points <= 10_000)
            .map(Self)
            .ok_or_else(expected)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, rest) if rest.is_multiple_of(10) => write!(f, "{whole}.{}%", rest / 10),
            (whole, rest) => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

/// Implements what every quantity shares: it is a string in documents and in JSON Schema.
macro_rules! quantity {
    ($type:ident, $description:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($description)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $description, "pattern": $pattern })
            }
        }
    };
}

quantity!(Duration, "a duration such as 250ms, 2s, 1m or 24h", "^[0-9]+(ms|s|m|h)$");
quantity!(Rate, "a rate above zero such as 100/s, 6000/m or 10/h", "^[0-9]+/[smh]$");
quantity!(Ratio, "a ratio from 0% to 100% such as 50% or 0.5%", "^[0-9]{1,3}(\\.[0-9]{1,2})?%$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_and_print_the_same() {
        for text in ["250ms", "2s", "1m", "24h", "0s", "1500ms"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        for text in ["100/s", "6000/m", "10/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["0%", "50%", "0.5%", "99.99%", "100%", "0.05%"] {
            assert_eq!(text.parse::<Ratio>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_what_was_expected() {
        for text in
            ["", "s", "5", "-1s", "+1s", "1.5s", "1d", "1 s", "99999999999999999999s", "9999999999999999h"]
        {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.contains("expected a duration"), "{text}: {error}");
        }
        for text in ["", "0/s", "1/d", "1", "/s", "-1/s", "+1/s", "4294967296/s", "1.5/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["", "50", "101%", "100.01%", "-1%", "1.234%", ".5%", "5.%", "+5%", "%"] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_the_standard_library_s() {
        let duration: Duration = "1500ms".parse().unwrap();
        assert_eq!(duration.get(), StdDuration::from_millis(1_500));
    }
}
