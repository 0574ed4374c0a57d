//! An e-mail address that can be stored and compared.

use std::fmt;

use crate::error::Error;

/// RFC 5321 §4.5.3.1: 256 bytes for the path with its brackets.
const BYTES_MAX: usize = 254;

/// A valid address, as it was written. Two that differ only in case are the same account.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// ASCII only: what looks like another letter must not be another account. An address with letters outside ASCII in
    /// its domain can be given in its `xn--` form.
    pub fn read(text: &str) -> Result<Self, Error> {
        let is_plain = text.len() <= BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        let has_dot = text.rsplit_once('@').is_some_and(|(_, domain)| domain.contains('.'));
        if !is_plain || !has_dot || garde::rules::email::parse_email(text).is_err() {
            return Err(Error::invalid("/email", "must be an e-mail address in ASCII, of at most 254 bytes"));
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is compared.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Debug for Email {
    /// Masked: `a…@example.org`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, domain) = self.0.rsplit_once('@').unwrap_or_default();
        write!(f, "{}…@{domain}", local.chars().next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(250));
        for text in [
            "",
            "@",
            "a@",
            "@b.org",
            "a b@c.org",
            "a@b@c.org",
            "a@b.org\n",
            "a@b.org\0",
            "\u{430}nna@b.org",
            "a@localhost",
            "a@b.org, c@d.org",
            "<a@b.org>",
            "a@b..org",
            &long,
        ] {
            assert!(Email::read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_compared_without_case_and_logged_masked() {
        let email = Email::read("Anna+Lunch@Example.org").unwrap();
        assert_eq!(email.folded(), "anna+lunch@example.org");
        assert_eq!(format!("{email:?}"), "A…@Example.org");
    }
}
