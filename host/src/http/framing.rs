//! What two readers of one request could read differently is refused, or is the last thing on its connection.
//!
//! hyper already refuses folded lines, spaces before a colon, lengths that differ and bad chunk sizes. Of a request with
//! both `Content-Length` and `Transfer-Encoding` it keeps the latter, which is right (RFC 9112 §6.3) and leaves one thing
//! to do: whoever stands before us may have read the former, so nothing may follow on that connection (§6.1). hyper
//! does not say that there were both, so every chunked request of HTTP/1.1 is the last one.

use axum::http::{HeaderMap, Uri, Version, header, request::Parts, uri::Authority};

use crate::error::Error;

/// Refuses a head that is well formed and means two things.
pub fn ensure_sound(parts: &Parts) -> Result<(), Error> {
    ensure_one_host(&parts.uri, &parts.headers, parts.version)?;
    let mut encodings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    if is_plain { Ok(()) } else { Err(Error::Malformed("Transfer-Encoding may be `chunked` and nothing else.".into())) }
}

/// Exactly one host (RFC 9112 §3.2; RFC 9113 §8.3.1: `:authority` and `Host` are the same).
fn ensure_one_host(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<(), Error> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let refuse = |why: &'static str| Err(Error::Malformed(why.into()));
    if more.is_some() {
        return refuse("Host may be given once.");
    }
    let authority = uri.authority();
    let Some(host) = host else {
        let may_lack = version <= Version::HTTP_10 || version >= Version::HTTP_2 && authority.is_some();
        return if may_lack { Ok(()) } else { refuse("Host is missing.") };
    };
    let read: Option<Authority> = host.to_str().ok().and_then(|host| host.parse().ok());
    match read {
        Some(read) if !read.as_str().contains('@') => match authority {
            Some(authority) if *authority != read => refuse("The request names two hosts."),
            _ => Ok(()),
        },
        _ => refuse("Host is no host."),
    }
}

/// Whether nothing may follow this request on its connection.
#[must_use]
pub fn is_last(version: Version, headers: &HeaderMap) -> bool {
    version < Version::HTTP_2 && headers.contains_key(header::TRANSFER_ENCODING)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn is_sound(uri: &str, version: Version, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        ensure_sound(&request.body(()).unwrap().into_parts().0).is_ok()
    }

    #[test]
    fn a_request_has_one_host() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert!(is_sound("/", one, &[("host", "a.example")]));
        assert!(is_sound("/", one, &[("host", "[::1]:3000")]));
        assert!(is_sound("/", Version::HTTP_10, &[]));
        assert!(is_sound("http://a.example/", two, &[]));
        assert!(is_sound("http://a.example/", two, &[("host", "A.example")]));
        assert!(!is_sound("/", one, &[]));
        assert!(!is_sound("/", two, &[]));
        assert!(!is_sound("/", one, &[("host", "a.example"), ("host", "a.example")]));
        assert!(!is_sound("http://a.example/", one, &[("host", "b.example")]));
        assert!(!is_sound("http://a.example/", two, &[("host", "b.example")]));
        for wrong in ["", "a b", "a/b", "user@a.example", "a.example:x:y", "a.example, b.example"] {
            assert!(!is_sound("/", one, &[("host", wrong)]), "{wrong:?}");
        }
    }

    #[test]
    fn a_body_is_chunked_or_not_and_nothing_cleverer() {
        let with = |values: &[&str]| {
            let mut headers = vec![("host", "a.example")];
            headers.extend(values.iter().map(|value| ("transfer-encoding", *value)));
            is_sound("/", Version::HTTP_11, &headers)
        };
        assert!(with(&["chunked"]) && with(&["Chunked"]));
        for wrong in [&["gzip, chunked"][..], &["chunked", "chunked"], &["identity"], &["chunked, identity"], &["x"]] {
            assert!(!with(wrong), "{wrong:?}");
        }
    }
}
