//! Cookies, as [RFC 6265](https://www.rfc-editor.org/rfc/rfc6265#section-4.2) writes them into one header: `a=1; b="2"`.
//!
//! Names are compared byte for byte. White space around names and values and one pair of double quotes around a value do not count; nothing is decoded. Of several cookies of
//! one name the first counts, as browsers send the one for the longest path first.

/// The value of the first cookie called `name`; `None` where there is none.
pub(crate) fn value<'h>(header: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    header.split(|byte| *byte == b';').find_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (written, value) = pair.split_at_checked(equals)?;
        (written.trim_ascii() == name).then(|| unquoted(value.get(1..).unwrap_or_default().trim_ascii()))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'h>(header: &'h str, name: &str) -> Option<&'h str> {
        value(header.as_bytes(), name.as_bytes()).map(|value| std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn the_first_of_a_name_counts() {
        assert_eq!(read("tenant=acme", "tenant"), Some("acme"));
        assert_eq!(read("a=1; tenant=acme; tenant=other", "tenant"), Some("acme"));
        assert_eq!(read("a=1;tenant = acme ;b=2", "tenant"), Some("acme"));
        assert_eq!(read("tenant=a=b==", "tenant"), Some("a=b=="));
        assert_eq!(read("tenant=", "tenant"), Some(""));
        for header in ["", "tenant", "xtenant=1", "tenants=1", "Tenant=1", "a=tenant=1", ";;="] {
            assert_eq!(read(header, "tenant"), None, "{header}");
        }
    }

    #[test]
    fn one_pair_of_quotes_does_not_count() {
        assert_eq!(read("t=\"a b\"", "t"), Some("a b"));
        assert_eq!(read("t=\"\"", "t"), Some(""));
        assert_eq!(read("t=\"a", "t"), Some("\"a"));
        assert_eq!(read("t=\"", "t"), Some("\""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(header in proptest::collection::vec(any::<u8>(), 0..80), name in proptest::collection::vec(any::<u8>(), 0..4)) {
            if let Some(value) = value(&header, &name) {
                prop_assert!(value.len() < header.len());
            }
        }

        #[test]
        fn a_cookie_that_is_there_is_found(before in "[a-y]{0,5}", value in "[a-zA-Z0-9=]{0,20}") {
            let header = format!("{before}=1; z={value}; z=other");
            prop_assert_eq!(read(&header, "z"), Some(value.as_str()));
        }
    }
}
