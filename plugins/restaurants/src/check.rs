//! What the types and `[constraint]`s of the boundary cannot say about an input.

use dinehub_sdk::{invalid, types::Problem};

/// Refuses a text without a visible character.
pub(crate) fn is_filled(pointer: &str, text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() { Err(invalid(pointer, "must not be blank")) } else { Ok(()) }
}

/// Refuses what does not have the form of a currency code (ISO 4217).
pub(crate) fn is_currency(code: &str) -> Result<(), Problem> {
    let formed = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if formed { Ok(()) } else { Err(invalid("/currency", "must be an ISO 4217 code, such as `EUR`")) }
}

/// Refuses what does not have the form of a place in the IANA time zone database; the database knows which exist.
///
/// PostgreSQL also reads POSIX rules (`Berlin+5`) and abbreviations that keep no summer time: those have no `Area/`, or
/// have digits or a `+`.
pub(crate) fn is_time_zone(name: &str) -> Result<(), Problem> {
    let parts_formed = name.split('/').all(|part| {
        part.starts_with(|first: char| first.is_ascii_uppercase())
            && part.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'-')
    });
    let formed = name == "UTC" || (name.contains('/') && parts_formed);
    if formed { Ok(()) } else { Err(invalid("/time_zone", ZONE_WANTED)) }
}

/// What is wanted of a time zone.
pub(crate) const ZONE_WANTED: &str = "must be an IANA time zone, such as `Europe/Lisbon`";

#[cfg(test)]
mod tests {
    use super::{is_currency, is_filled, is_time_zone};

    #[test]
    fn blank_is_not_filled() {
        for text in ["", " ", "\t\n", "\u{a0}\u{2003}"] {
            assert!(is_filled("/name", text).is_err(), "{text:?}");
        }
        assert!(is_filled("/name", " Ō ").is_ok());
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for code in ["", "eur", "EU", "EURO", "€€€", "E1R"] {
            assert!(is_currency(code).is_err(), "{code}");
        }
        assert!(is_currency("EUR").is_ok());
    }

    #[test]
    fn posix_rules_and_abbreviations_are_no_time_zone() {
        for name in
            ["", "CET", "Berlin+5", "Foo/Bar+5", "Foo/Bar-5", "/", "Europe/", "../Europe/Lisbon", "europe/lisbon"]
        {
            assert!(is_time_zone(name).is_err(), "{name}");
        }
        for name in ["UTC", "Europe/Lisbon", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"] {
            assert!(is_time_zone(name).is_ok(), "{name}");
        }
    }
}
