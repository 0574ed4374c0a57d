//! `Link: <…>; rel="next"` of a page that is not the last (RFC 8288), from the cursor in the body: clients that follow
//! links need not know of cursors.

use axum::http::{HeaderValue, Uri};

/// How the cursor stands in the body, right before its end.
const BEFORE: &[u8] = b"\"next_cursor\":";

/// The link to the page after the one in `body`; none when it is the last, or no page.
pub(super) fn next(uri: &Uri, body: &[u8]) -> Option<HeaderValue> {
    let rest = body.strip_suffix(b"\"}")?;
    let at = rest.iter().rposition(|byte| *byte == b'"')?;
    let (before, cursor) = rest.split_at_checked(at)?;
    let cursor = std::str::from_utf8(cursor.get(1..)?).ok()?;
    if !before.ends_with(BEFORE) || cursor.is_empty() {
        return None;
    }
    let mut target = format!("<{}?", uri.path());
    let kept = uri.query().unwrap_or_default().split('&');
    for pair in kept.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor=") && *pair != "cursor") {
        // Encoded by the client, except where it was careless: such a link could end early.
        if pair.bytes().any(|byte| matches!(byte, b'<' | b'>' | b'"' | b'\\')) {
            return None;
        }
        target.push_str(pair);
        target.push('&');
    }
    HeaderValue::try_from(format!("{target}cursor={cursor}>; rel=\"next\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str, body: &str) -> Option<String> {
        next(&uri.parse().unwrap(), body.as_bytes()).map(|link| link.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_page_links_to_the_next_with_the_same_question() {
        let body = r#"{"items":[],"next_cursor":"aB_-1"}"#;
        assert_eq!(of("/a", body).as_deref(), Some("</a?cursor=aB_-1>; rel=\"next\""));
        assert_eq!(
            of("/a?limit=2&cursor=old&text=x%20y", body).as_deref(),
            Some("</a?limit=2&text=x%20y&cursor=aB_-1>; rel=\"next\"")
        );
    }

    #[test]
    fn the_last_page_and_what_is_no_page_link_to_nothing() {
        for body in [
            "",
            "{}",
            r#"{"items":[],"next_cursor":null}"#,
            r#"{"items":[],"next_cursor":""}"#,
            r#"{"name":"\"next_cursor\":"}"#,
            r#"{"last_cursor":"a"}"#,
            r#"[{"next_cursor":"a"}]"#,
        ] {
            assert_eq!(of("/a", body), None, "{body}");
        }
    }
}
