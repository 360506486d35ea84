//! What makes a request gRPC, and what its path says: `/shop.Orders/Place`.

/// Whether a `content-type` says gRPC: `application/grpc`, alone or followed by `+proto`, parameters and the like. `application/grpc-web` is something else.
pub(crate) fn is_content_type(value: &[u8]) -> bool {
    let (head, rest) = value.split_at_checked(b"application/grpc".len()).unwrap_or((value, b""));
    head.eq_ignore_ascii_case(b"application/grpc")
        && rest.first().is_none_or(|next| matches!(next, b'+' | b';' | b' '))
}

/// The service and the method that a gRPC path names; nothing is decoded. `None` where the path is no gRPC path.
pub(crate) fn call(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let mut parts = path.strip_prefix(b"/")?.split(|byte| *byte == b'/');
    let (service, method) = (parts.next()?, parts.next()?);
    (parts.next().is_none() && !service.is_empty() && !method.is_empty()).then_some((service, method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_says_it() {
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=x",
            "Application/GRPC+json",
        ] {
            assert!(is_content_type(value.as_bytes()), "{value}");
        }
        for value in
            ["", "application/json", "application/grpc-web", "application/grpcx", "application/gr", "x"]
        {
            assert!(!is_content_type(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn the_path_is_service_and_method() {
        assert_eq!(call(b"/shop.Orders/Place"), Some((&b"shop.Orders"[..], &b"Place"[..])));
        assert_eq!(call(b"/shop.Orders/Place?x"), Some((&b"shop.Orders"[..], &b"Place"[..])));
        for path in ["", "/", "/a", "/a/", "//b", "/a/b/c", "a/b", "*"] {
            assert_eq!(call(path.as_bytes()), None, "{path}");
        }
    }
}
