//! What a header may be.

/// Whether this can be the name of a header ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)), a pseudo-header excepted.
pub(crate) fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether a header may have this value ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-5.5)). A key made of decoded parts may be any bytes, and a proxy answers
/// a request that it can't write with an error of its own.
pub fn is_header_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_but_the_tab_are_in_no_value() {
        for byte in 0..=u8::MAX {
            let is_one = byte < 0x20 || byte == 0x7f;
            assert_eq!(is_header_value(&[b'a', byte]), byte == b'\t' || !is_one, "{byte:#x}");
        }
        assert!(is_header_value(b""));
    }
}
