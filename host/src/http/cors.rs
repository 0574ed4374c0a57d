//! Which pages of other origins a browser may let read our answers (S07, the Fetch standard). Closed unless the operator
//! names origins; then exactly those, never a pattern, and never cookies: the API takes its credential from a header that
//! a page has to put there itself.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header},
};

use crate::error::{Fault, Setup};

/// What a page may send beside what it always may.
const TAKEN: &str = "authorization, content-type, idempotency-key, if-match, if-none-match";
/// What a page may read beside what it always may.
const SHOWN: &str = "allow, deprecation, etag, idempotency-replayed, link, location, ratelimit, ratelimit-policy, \
                     retry-after, sunset, x-request-id";
/// Which methods a path answers is what a preflight asks.
const REQUEST_METHOD: HeaderName = header::ACCESS_CONTROL_REQUEST_METHOD;

/// The policy of one host.
#[derive(Debug, Default)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    /// Any page at all may read what anybody may read.
    is_open: bool,
    max_age_s: u32,
}

impl Cors {
    /// `origins` are like `https://app.example`; `*` stands for every one.
    pub fn new(origins: &[String], max_age_s: u32) -> Setup<Self> {
        let mut cors = Self { max_age_s, ..Self::default() };
        for text in origins {
            if text == "*" {
                cors.is_open = true;
                continue;
            }
            cors.origins.push(origin(text).ok_or_else(|| {
                Fault::new("cors.origins", format!("{text:?} is no origin"))
                    .fix(r#"cors.origins = ["https://app.example"], scheme, host and port as a browser sends them"#)
            })?);
        }
        Ok(cors)
    }

    /// Whether any page of another origin may read anything.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.origins.is_empty() && !self.is_open
    }

    /// Marks an answer to a request that came from a page. It differs by origin, and caches must know.
    pub fn write(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.is_closed() {
            return;
        }
        if !self.is_open {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(allowed) = self.allowed(origin) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(SHOWN));
        }
    }

    /// The answer to OPTIONS on a path with these methods (`GET, HEAD, POST`); a preflight also learns what it may send.
    #[must_use]
    pub fn options(&self, headers: &HeaderMap, allow: &str) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let told = response.headers_mut();
        let allow = HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static(""));
        let is_preflight = headers.contains_key(REQUEST_METHOD);
        if is_preflight && self.allowed(headers.get(header::ORIGIN)).is_some() {
            told.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
            told.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(TAKEN));
            told.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age_s));
        }
        told.insert(header::ALLOW, allow);
        response
    }

    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match origin {
            Some(_) if self.is_open => Some(HeaderValue::from_static("*")),
            Some(origin) => self.origins.iter().find(|known| *known == origin).cloned(),
            None => None,
        }
    }
}

/// Whether it is a question the host answers itself.
#[must_use]
pub fn is_options(method: &Method) -> bool {
    *method == Method::OPTIONS
}

/// An origin in the form a browser sends it (RFC 6454 §6.2).
fn origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let is_bare = text == format!("{scheme}://{authority}") && !authority.as_str().contains('@');
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'*');
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    if is_bare && is_lower && authority.port_u16() != Some(default) { HeaderValue::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_a_browser_sends_it() {
        for right in ["https://app.example", "http://localhost:5173", "https://app.example:8443"] {
            assert!(origin(right).is_some(), "{right}");
        }
        for wrong in [
            "app.example",
            "https://app.example/",
            "https://App.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://*.example",
            "https://a@app.example",
            "null",
            "",
            "ftp://app.example",
        ] {
            assert!(origin(wrong).is_none(), "{wrong}");
        }
    }

    fn told(cors: &Cors, from: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        cors.write(Some(&from.parse().unwrap()), &mut headers);
        headers
    }

    #[test]
    fn an_origin_is_let_in_by_its_whole_name_and_closed_is_closed() {
        let cors = Cors::new(&["https://app.example".to_owned()], 600).unwrap();
        assert_eq!(told(&cors, "https://app.example")[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        for stranger in [
            "https://app.example.evil",
            "http://app.example",
            "https://xapp.example",
            "null",
            "https://app.example:8443",
        ] {
            let told = told(&cors, stranger);
            assert!(!told.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{stranger}");
            assert_eq!(told[header::VARY], "origin");
        }
        assert!(told(&Cors::default(), "https://app.example").is_empty());
        let open = Cors::new(&["*".to_owned()], 600).unwrap();
        assert_eq!(told(&open, "https://any.example")[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }
}
