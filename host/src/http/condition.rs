//! Requests with a condition (RFC 9110 §13): "only if it is still what I read" and "only if it changed".
//!
//! A tag is strong: a hash of the very bytes of the representation. A plugin does nothing for it but say `etag = true` on
//! the GET of a path. `If-Match` on a PUT, PATCH or DELETE of that path is then decided by the host: it runs the GET's
//! function first, in the same transaction, and compares. The transaction is REPEATABLE READ, so whatever another request
//! commits in between makes the write fail instead of overwriting it, whichever path that other request came by; the host
//! runs the request once more, reads what is there now, and answers 412. See [`super::forward`].

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// So much of the hash is enough to tell two representations apart.
const TAG_BYTES: usize = 16;

/// The tags of an `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: whatever there is.
    Any,
    /// Each with whether it is weak.
    These(Vec<(String, bool)>),
}

/// The strong tag of a representation, with its quotes.
#[must_use]
pub fn tag(representation: &[u8]) -> String {
    let hash = Sha256::digest(representation);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash.get(..TAG_BYTES).unwrap_or(&hash)))
}

impl Tags {
    /// What the header says, if it is there.
    ///
    /// # Errors
    /// 400 when it is no list of tags: a condition that cannot be read must not be taken for none.
    pub fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Error> {
        let mut lines = headers.get_all(name).iter().peekable();
        if lines.peek().is_none() {
            return Ok(None);
        }
        let unreadable = || Error::Malformed(format!("{name} must be `*` or a list of entity tags.").into());
        let texts: Vec<&str> = lines.map(HeaderValue::to_str).collect::<Result<_, _>>().map_err(|_| unreadable())?;
        let text = texts.join(",");
        if text.trim() == "*" {
            return Ok(Some(Self::Any));
        }
        let mut tags = Vec::new();
        let mut rest = text.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let is_weak = rest.starts_with("W/");
            let after = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"').ok_or_else(unreadable)?;
            let (tag, after) = after.split_once('"').ok_or_else(unreadable)?;
            tags.push((format!("\"{tag}\""), is_weak));
            rest = after.trim_start_matches([' ', '\t']);
            if !rest.is_empty() {
                rest = rest.strip_prefix(',').ok_or_else(unreadable)?.trim_start_matches([' ', '\t', ',']);
            }
        }
        if tags.is_empty() { Err(unreadable()) } else { Ok(Some(Self::These(tags))) }
    }

    /// Strong comparison, for what changes something (§13.1.1).
    #[must_use]
    pub fn hold(&self, current: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|(tag, is_weak)| !is_weak && tag == current),
        }
    }

    /// Weak comparison, for what only reads (§13.1.2): a proxy that compressed the answer made the tag weak.
    #[must_use]
    pub fn hold_weakly(&self, current: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|(tag, _)| tag == current),
        }
    }
}

/// Conditions of a request that changes something, where nothing can decide them: taken for fulfilled they would promise
/// what nobody checks.
///
/// # Errors
/// 412 for one that is there; 400 for one that cannot be read.
pub fn ensure_none(headers: &HeaderMap) -> Result<(), Error> {
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        if Tags::read(headers, &name)?.is_some() {
            return Err(Error::PreconditionFailed);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<Tags>, Error> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, line.parse().unwrap());
        }
        Tags::read(&headers, &header::IF_MATCH)
    }

    #[test]
    fn a_list_of_tags_is_read_and_nothing_else_is() {
        let these = |tags: &[(&str, bool)]| {
            Some(Tags::These(tags.iter().map(|(tag, is_weak)| ((*tag).to_owned(), *is_weak)).collect()))
        };
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["*"]).unwrap(), Some(Tags::Any));
        assert_eq!(read(&["\"a\""]).unwrap(), these(&[("\"a\"", false)]));
        assert_eq!(
            read(&["\"a\" , W/\"b,c\",", "\"d\""]).unwrap(),
            these(&[("\"a\"", false), ("\"b,c\"", true), ("\"d\"", false)])
        );
        for wrong in ["", "a", "\"a", "\"a\" \"b\"", "*, \"a\"", "w/\"a\"", "\"a\"x", ","] {
            assert!(read(&[wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_weak_tag_holds_for_reading_and_not_for_writing() {
        let tags = read(&["W/\"a\""]).unwrap().unwrap();
        assert!(tags.hold_weakly("\"a\"") && !tags.hold("\"a\""));
        let tags = read(&["\"a\", \"b\""]).unwrap().unwrap();
        assert!(tags.hold("\"b\"") && !tags.hold("\"c\"") && !tags.hold("b"));
    }

    #[test]
    fn a_tag_is_of_the_bytes() {
        assert_eq!(tag(b"{}"), tag(b"{}"));
        assert_ne!(tag(b"{}"), tag(b"{} "));
        assert_eq!(tag(b"").len(), 24);
    }
}
