//! What the provider reports by itself: the same news as its answers, for when an answer was lost.
//!
//! A report is somebody's word until its signature is right: HMAC-SHA256 over `<time>.<body>` by a key that only the host
//! and the provider hold, not older than five minutes. What it says is published, and so recorded by the platform:
//! whoever sends requests writes nothing here.

use dinehub_sdk::{invalid, types::Problem};
use serde::Deserialize;

use crate::bindings::dinehub::{clock::wall, http::types::Incoming, payments::reports, payments_secret::webhook_key};

/// How far a report's time may be from now, in seconds: it cannot be kept and sent again.
const AGE_MAX_S: i64 = 300;
/// What the columns hold.
const ID_CHARS_MAX: usize = 100;

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Report {
    r#type: String,
    data: Data,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Data {
    id: String,
    order: String,
}

/// Publishes what a signed request says; what it says of anything else is well, and is nothing to us.
pub(crate) fn read(request: &Incoming) -> Result<(), Problem> {
    let refused = || invalid("", "must be signed by the provider, now");
    let mut signatures = request.headers.iter().filter(|header| header.name == "provider-signature");
    let (Some(header), None) = (signatures.next(), signatures.next()) else { return Err(refused()) };
    let (time, signature) = parts(&header.value).ok_or_else(refused)?;
    let is_signed = webhook_key::verify(&format!("{time}.{}", request.body), signature);
    if !is_signed || !is_fresh(time, &wall::now()) {
        return Err(refused());
    }
    let report: Report = serde_json::from_str(&request.body).map_err(|_| invalid("", "must be a report"))?;
    let Report { r#type, data: Data { id, order } } = &report;
    if !is_uuid(order) || id.is_empty() || id.chars().count() > ID_CHARS_MAX {
        return Err(invalid("/data", "must name an order and what was done for it"));
    }
    match r#type.as_str() {
        "charge.succeeded" => reports::charged(order, id),
        "refund.succeeded" => reports::refunded(order, id),
        _ => {}
    }
    Ok(())
}

/// `t=<seconds>,v1=<hex>`.
fn parts(header: &str) -> Option<(&str, &str)> {
    let (time, signature) = header.split_once(',')?;
    Some((time.strip_prefix("t=")?, signature.strip_prefix("v1=")?))
}

/// Whether a time in seconds since 1970 is about now, an RFC 3339 instant in UTC.
fn is_fresh(time: &str, now: &str) -> bool {
    let (Ok(time), Some(now)) = (time.parse::<i64>(), seconds(now)) else { return false };
    now.checked_sub(time).is_some_and(|age| age.abs() <= AGE_MAX_S)
}

/// Seconds since 1970-01-01 of `2026-03-01T18:30:00…Z`, by the days of the proleptic Gregorian calendar.
fn seconds(instant: &str) -> Option<i64> {
    let number = |from: usize, until: usize| instant.get(from..until)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // A year that begins in March ends with its leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

#[cfg(test)]
mod tests {
    use super::{Data, Report, is_fresh, is_uuid, parts, seconds};

    #[test]
    fn instants_are_counted_from_1970() {
        assert_eq!(seconds("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(seconds("2000-02-29T23:59:59.999000Z"), Some(951_868_799));
        assert_eq!(seconds("2026-11-25T13:00:00.000000Z"), Some(1_795_611_600));
        assert_eq!(seconds("2100-03-01T00:00:00Z"), Some(4_107_542_400));
        assert_eq!(seconds("soon"), None);
    }

    #[test]
    fn a_report_is_fresh_for_five_minutes_either_way() {
        let now = "1970-01-01T01:00:00.000000Z";
        for (time, is) in [("3600", true), ("3300", true), ("3900", true), ("3299", false), ("3901", false)] {
            assert_eq!(is_fresh(time, now), is, "{time}");
        }
        for odd in ["", "now", "-9223372036854775808", "9223372036854775807", "36e2"] {
            assert!(!is_fresh(odd, now), "{odd}");
        }
    }

    #[test]
    fn a_signature_has_two_parts_in_one_order() {
        assert_eq!(parts("t=5,v1=ab"), Some(("5", "ab")));
        for odd in ["", "t=5", "v1=ab,t=5", "t=5 v1=ab", "5,ab"] {
            assert_eq!(parts(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_report_names_an_order() {
        let text = r#"{"type":"charge.succeeded","data":{"id":"ch_1","order":"o","amount":5},"at":1}"#;
        let data = Data { id: "ch_1".to_owned(), order: "o".to_owned() };
        assert_eq!(
            serde_json::from_str::<Report>(text).unwrap(),
            Report { r#type: "charge.succeeded".to_owned(), data }
        );
        assert!(is_uuid("b93f003a-0000-4000-8000-0123456789ab"));
        for odd in [
            "",
            "b93f003a-0000-4000-8000-0123456789aB",
            "b93f003a00004000-8000-0123456789ab-",
            "é93f003a-0000-4000-8000-0123456789a",
        ] {
            assert!(!is_uuid(odd), "{odd}");
        }
    }
}
