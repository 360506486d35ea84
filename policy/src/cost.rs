//! How many tokens a request takes: a constant, or what a header says, within bounds.
//!
//! The header's value is a decimal number without sign, spaces around it allowed. One that is too large for any bound is the largest; anything else (no header, no
//! number, several values) is the default. So a client that is allowed to name its own cost can never pay less than `min`.

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use crate::asked::{Asked, Thing};
use crate::config::{PathSegment, Problem};
use crate::engine::{Needs, Request};
use crate::header::is_header_name;

/// The tokens that one request takes. Written as a number or as an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Cost {
    /// Always so many; 0 takes none and always passes.
    Fixed(u32),
    /// What a header says.
    Header(HeaderCost),
}

/// A cost that a request header names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderCost {
    /// The header; case does not matter.
    pub header: String,
    /// Where the header is absent or no number.
    #[serde(default = "one")]
    pub default: u32,
    /// The least that a request takes.
    #[serde(default = "one")]
    pub min: u32,
    /// The most that a request takes; the bucket's size where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

const fn one() -> u32 {
    1
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Cost;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number of tokens, or {header: x-cost, default: 1, min: 1, max: 100}")
            }
            fn visit_u64<E: de::Error>(self, tokens: u64) -> Result<Cost, E> {
                let tokens = u32::try_from(tokens);
                tokens.map(Cost::Fixed).map_err(|_| E::custom("a cost is at most 4294967295 tokens"))
            }
            fn visit_i64<E: de::Error>(self, tokens: i64) -> Result<Cost, E> {
                let tokens = u64::try_from(tokens).map_err(|_| E::custom("a cost can't be negative"))?;
                self.visit_u64(tokens)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<Cost, A::Error> {
                HeaderCost::deserialize(de::value::MapAccessDeserializer::new(fields)).map(Cost::Header)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Cost {
    /// What is wrong with it where buckets hold `burst` tokens, with paths from the cost.
    pub(crate) fn problems(&self, burst: u32) -> Vec<Problem> {
        let problem = |path: &[PathSegment], message: String| Problem { path: path.to_vec(), message };
        let field = PathSegment::Field;
        let mut problems = Vec::new();
        match self {
            Self::Fixed(tokens) if *tokens > burst => {
                problems.push(problem(
                    &[],
                    format!("no request could ever pass: it costs {tokens}, a full bucket holds {burst}"),
                ));
            }
            Self::Fixed(_) => {}
            Self::Header(HeaderCost { header, default, min, max }) => {
                let most = max.unwrap_or(burst);
                if !is_header_name(header) {
                    problems.push(problem(
                        &[field("header")],
                        format!("expected a header's name, found {header:?}"),
                    ));
                }
                if most > burst {
                    let message =
                        format!("a request that costs {most} could never pass: a full bucket holds {burst}");
                    problems.push(problem(&[field("max")], message));
                }
                if *min > most {
                    problems.push(problem(
                        &[field("min")],
                        format!("min is {min}, more than max, which is {most}"),
                    ));
                }
                if !(*min..=most.max(*min)).contains(default) {
                    let message = format!("the default is {default}, which is not between min and max");
                    problems.push(problem(&[field("default")], message));
                }
            }
        }
        problems
    }
}

/// A compiled cost.
#[derive(Debug, Clone)]
pub(crate) enum Charge {
    Fixed(u32),
    Header { thing: Thing, default: u32, min: u32, max: u32 },
}

impl Charge {
    pub(crate) fn compile(cost: Option<&Cost>, needs: &mut Needs) -> Self {
        match cost {
            None => Self::Fixed(1),
            Some(Cost::Fixed(tokens)) => Self::Fixed(*tokens),
            Some(Cost::Header(HeaderCost { header, default, min, max })) => Self::Header {
                thing: needs.header(&header.to_ascii_lowercase()),
                default: *default,
                min: *min,
                max: max.unwrap_or(u32::MAX),
            },
        }
    }

    /// The tokens that a request takes, as far as this rule says.
    pub(crate) fn tokens<R>(&self, request: &R, needs: &Needs, asked: &mut Asked) -> u32
    where
        R: Request + ?Sized,
    {
        match self {
            Self::Fixed(tokens) => *tokens,
            Self::Header { thing, default, min, max } => {
                asked.get(*thing, needs, request).and_then(number).unwrap_or(*default).min(*max).max(*min)
            }
        }
    }
}

/// A decimal number; one beyond 32 bits is the largest of them.
fn number(value: &[u8]) -> Option<u32> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let step = |sum: u32, digit: &u8| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    Some(digits.iter().fold(0, step))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Described;

    fn charge(json: &str, header: Option<&[u8]>) -> u32 {
        let mut needs = Needs::default();
        let cost: Cost = serde_json::from_str(json).unwrap();
        let charge = Charge::compile(Some(&cost), &mut needs);
        let mut request = Described::default();
        if let Some(value) = header {
            request = request.header("x-cost", value);
        }
        let mut asked = Asked::default();
        asked.begin();
        charge.tokens(&request, &needs, &mut asked)
    }

    const BOUNDED: &str = r#"{"header": "X-Cost", "default": 3, "min": 2, "max": 10}"#;

    #[test]
    fn a_header_is_clamped() {
        for (value, tokens) in [
            ("5", 5),
            (" 7 ", 7),
            ("0", 2),
            ("1", 2),
            ("11", 10),
            ("99999999999999999999999", 10),
            ("007", 7),
        ] {
            assert_eq!(charge(BOUNDED, Some(value.as_bytes())), tokens, "{value}");
        }
    }

    #[test]
    fn what_is_no_number_is_the_default() {
        assert_eq!(charge(BOUNDED, None), 3);
        for value in ["", " ", "-1", "+1", "1.5", "five", "5,6", "5 6", "0x5", "\u{665}"] {
            assert_eq!(charge(BOUNDED, Some(value.as_bytes())), 3, "{value}");
        }
        assert_eq!(charge(BOUNDED, Some(b"\xff")), 3);
        assert_eq!(charge("4", Some(b"9")), 4);
        assert_eq!(charge(r#"{"header": "x-cost"}"#, None), 1);
    }

    #[test]
    fn costs_that_no_bucket_can_pay_are_refused() {
        let problems = |json: &str| -> Vec<String> {
            let cost: Cost = serde_json::from_str(json).unwrap();
            cost.problems(100).iter().map(ToString::to_string).collect()
        };
        assert_eq!(problems("100"), [""; 0]);
        assert_eq!(problems("0"), [""; 0]);
        assert_eq!(problems("101").len(), 1);
        assert_eq!(problems(r#"{"header": "x-cost"}"#), [""; 0]);
        assert!(problems(r#"{"header": "x-cost", "max": 101}"#)[0].starts_with("max: "));
        assert!(
            problems(r#"{"header": "x-cost", "min": 5, "max": 4, "default": 5}"#)[0].starts_with("min: ")
        );
        assert!(problems(r#"{"header": "x-cost", "min": 5, "max": 9}"#)[0].starts_with("default: "));
        assert!(problems(r#"{"header": "x cost"}"#)[0].starts_with("header: "));
    }

    #[test]
    fn other_shapes_are_refused() {
        for json in [
            "-1",
            "4294967296",
            "\"5\"",
            "[]",
            r#"{"default": 1}"#,
            r#"{"header": "x", "more": 1}"#,
            "1.5",
            "null",
        ] {
            assert!(serde_json::from_str::<Cost>(json).is_err(), "{json}");
        }
        for json in ["7", r#"{"header":"x-cost","default":1,"min":1,"max":100}"#] {
            let cost: Cost = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&cost).unwrap(), json);
        }
    }

    proptest! {
        #[test]
        fn any_header_costs_something_within_the_bounds(value in proptest::collection::vec(any::<u8>(), 0..24)) {
            prop_assert!((2..=10).contains(&charge(BOUNDED, Some(&value))));
        }
    }
}
