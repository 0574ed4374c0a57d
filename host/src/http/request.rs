//! A request that was let through, on its way to whoever answers it: a plugin's function or the host's own action.

use std::net::IpAddr;

use axum::http::{HeaderMap, header, request::Parts};
use bytes::Bytes;

use super::serve::Peer;
use crate::{audit::event::By, error::Error, id::RequestId};

/// Path parameters by name, still percent-encoded.
pub type Params<'p> = matchit::Params<'p, 'p>;

/// The whole of it, read.
#[derive(Debug)]
pub struct Request<'r> {
    pub id: RequestId,
    pub peer: Peer,
    /// The address that this request counts for: the peer's, or what a trusted proxy says.
    pub source: IpAddr,
    /// Whom the audit names for what it does.
    pub by: By,
    pub parts: &'r Parts,
    pub params: Params<'r>,
    pub body: &'r Bytes,
}

impl Request<'_> {
    /// A path that takes no body refuses one; `{}` is what some clients send for none.
    pub fn ensure_empty(&self) -> Result<(), Error> {
        match self.body.trim_ascii() {
            b"" | b"{}" => Ok(()),
            _ => Err(Error::Malformed("This path takes no body.".into())),
        }
    }

    /// A path about whoever asks names nobody: a parameter that would is refused, not passed over.
    pub fn ensure_bare(&self) -> Result<(), Error> {
        match self.parts.uri.query() {
            None => self.ensure_empty(),
            Some(_) => Err(Error::Malformed("This path takes no parameters.".into())),
        }
    }

    /// The body is `application/json`, in UTF-8 if it says so, and not compressed: what unpacks to a thousand times its
    /// size would be bounded too late.
    pub fn ensure_json(&self) -> Result<(), Error> {
        let headers = &self.parts.headers;
        let is_packed = headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity");
        if is_json(headers) && !is_packed { Ok(()) } else { Err(Error::UnsupportedMedia) }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return false };
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next() == Some("application/json");
    is_json && parts.all(|part| matches!(part, "" | "charset=utf-8" | "charset=\"utf-8\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_json() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            }
            is_json(&headers)
        };
        for refused in
            [&[][..], &["text/json"], &["application/json; charset=utf-16"], &["application/json", "text/plain"]]
        {
            assert!(!of(refused), "{refused:?}");
        }
        for accepted in ["application/json", "Application/JSON; charset=UTF-8", "application/json;"] {
            assert!(of(&[accepted]), "{accepted}");
        }
    }
}
