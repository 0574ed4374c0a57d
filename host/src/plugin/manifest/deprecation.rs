//! `[deprecation]`: a version that will go says so in every answer, long before it does.

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde::{Deserialize, Serialize};

use crate::error::{Fault, Setup};

/// When a version began to be deprecated, when it will not be served any more, and where to read what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deprecation {
    /// From here on there is something better; in UTC, as in `2026-11-01T00:00:00Z`.
    pub since: Timestamp,
    /// Not served any more from here on.
    pub sunset: Option<Timestamp>,
    /// A page for people, by https.
    pub link: Option<String>,
}

impl Deprecation {
    pub(super) fn ensure_sound(&self) -> Setup<()> {
        // RFC 9745 §4.
        if self.sunset.is_some_and(|sunset| sunset < self.since) {
            return Err(Fault::new("[deprecation] sunset", "is before `since`")
                .fix("a version is deprecated first, and gone later"));
        }
        match &self.link {
            Some(link) if !is_link(link) => Err(Fault::new("[deprecation] link", "is no address of a page")
                .fix(r#"link = "https://api.example/docs/v2""#)),
            _ => Ok(()),
        }
    }

    /// The headers of every answer: name and value.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        // A Date of RFC 9651: seconds since 1970.
        let mut headers = vec![("deprecation", format!("@{}", self.since.as_second()))];
        if let Some(sunset) = self.sunset.and_then(|at| DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()) {
            headers.push(("sunset", sunset));
        }
        if let Some(link) = &self.link {
            headers.push(("link", format!("<{link}>; rel=\"deprecation\"; type=\"text/html\"")));
        }
        headers
    }
}

fn is_link(link: &str) -> bool {
    let host = link.strip_prefix("https://").unwrap_or_default();
    let is_sound = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&b);
    !host.is_empty() && link.len() <= 500 && link.bytes().all(is_sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9745 §2.1 and RFC 8594 §3.
    #[test]
    fn headers_are_those_of_the_standards() {
        let all = Deprecation {
            since: "2023-06-30T23:59:59Z".parse().unwrap(),
            sunset: Some("2018-12-31T23:59:59Z".parse().unwrap()),
            link: Some("https://developer.example.com/deprecation".to_owned()),
        };
        let headers = all.headers();
        assert_eq!(headers[0], ("deprecation", "@1688169599".to_owned()));
        assert_eq!(headers[1], ("sunset", "Mon, 31 Dec 2018 23:59:59 GMT".to_owned()));
        let link = "<https://developer.example.com/deprecation>; rel=\"deprecation\"; type=\"text/html\"";
        assert_eq!(headers[2], ("link", link.to_owned()));
        assert!(all.ensure_sound().unwrap_err().to_string().contains("is before `since`"));
    }

    #[test]
    fn a_link_cannot_carry_another_header() {
        for link in ["", "https://", "http://a.example", "https://a.example/\r\nset-cookie: x", "https://a.example/>"] {
            assert!(!is_link(link), "{link:?}");
        }
    }
}
