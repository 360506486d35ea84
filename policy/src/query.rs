//! Query parameters, taken from a path as the client wrote it.
//!
//! Names and values are percent-decoded, and `+` is a space, because that is what every framework behind the proxy does: a client that could write one
//! value in many ways would have as many keys, and could write its way around a match. A `%` without two hexadecimal digits stands for itself. Of several parameters of one name the
//! first counts. A parameter without `=` has an empty value.
//!
//! (Envoy's own route matching compares query parameters as they are written; a key or a `when` here sees through an encoding that a route does not.)

/// The decoded bytes of the first parameter called `name` (as its decoded bytes) in the path `target`; `None` where there is none.
pub(crate) fn value<'t>(target: &'t [u8], name: &[u8]) -> Option<Decoded<'t>> {
    let before_fragment = target.split(|byte| *byte == b'#').next()?;
    let start = before_fragment.iter().position(|byte| *byte == b'?')?;
    let query = before_fragment.get(start + 1..)?;
    query.split(|byte| *byte == b'&').find_map(|parameter| {
        let end = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        let (written, value) = parameter.split_at_checked(end)?;
        // `&&` is no parameter with an empty name.
        (!parameter.is_empty() && Decoded(written).eq(name.iter().copied()))
            .then(|| Decoded(value.get(1..).unwrap_or_default()))
    })
}

/// Bytes as they are decoded, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Decoded<'t>(&'t [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(match (first, rest) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    self.0 = after;
                    high << 4 | low
                }
                _ => first,
            },
            _ => first,
        })
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(target: &str, name: &str) -> Option<Vec<u8>> {
        value(target.as_bytes(), name.as_bytes()).map(Iterator::collect)
    }

    #[test]
    fn the_first_of_a_name_counts() {
        assert_eq!(read("/a?x=1&tenant=acme&tenant=other", "tenant"), Some(b"acme".to_vec()));
        assert_eq!(read("/a?tenant=a=b", "tenant"), Some(b"a=b".to_vec()));
        assert_eq!(read("/a?tenant", "tenant"), Some(Vec::new()));
        assert_eq!(read("/a?tenant=&x", "tenant"), Some(Vec::new()));
        assert_eq!(read("/a?b?tenant=1&tenant=2", "tenant"), Some(b"2".to_vec()));
        for target in [
            "/a",
            "/a?",
            "/a?xtenant=1",
            "/a?tenants=1",
            "/tenant=1",
            "/a#?tenant=1",
            "/a?x#&tenant=1",
            "/a?Tenant=1",
            "",
        ] {
            assert_eq!(read(target, "tenant"), None, "{target}");
        }
        assert_eq!(read("/a?&&", ""), None);
    }

    #[test]
    fn however_it_is_encoded_it_is_the_same() {
        for query in ["tenant=a b", "tenant=a+b", "tenant=a%20b", "%74enant=%61%20%62", "tenan%74=a%20b"] {
            assert_eq!(read(&format!("/?{query}"), "tenant"), Some(b"a b".to_vec()), "{query}");
        }
        assert_eq!(read("/?t=%2f%2F%00%ff", "t"), Some(b"//\0\xff".to_vec()));
        assert_eq!(read("/?t=%&u", "t"), Some(b"%".to_vec()));
        assert_eq!(read("/?t=%zz%4", "t"), Some(b"%zz%4".to_vec()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let encoded = value.iter().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
            prop_assert_eq!(read(&format!("/p?a=1&k={encoded}&b=2"), "k"), Some(value));
        }

        #[test]
        fn any_bytes_are_survived(target in proptest::collection::vec(any::<u8>(), 0..80), name in proptest::collection::vec(any::<u8>(), 0..4)) {
            if let Some(value) = value(&target, &name) {
                prop_assert!(value.count() <= target.len());
            }
        }
    }
}
