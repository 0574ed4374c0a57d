//! Instants and days as text: RFC 3339 in UTC with microseconds and `Z`, ISO 8601 days; years 0001 to 9999.
//!
//! PostgreSQL keeps both as integers, the guest sees text. The way there and back is exact, allocates nothing, and
//! knows no infinity: what has no RFC 3339 form is `None`. The calendar is Howard Hinnant's `civil_from_days`
//! (<https://howardhinnant.github.io/date_algorithms.html>).
//!
//! ```
//! use dinehub::database::timestamp;
//! let micros = timestamp::parse("2026-11-23T18:30:00.000001Z").unwrap();
//! assert_eq!(timestamp::format(micros).unwrap().as_str(), "2026-11-23T18:30:00.000001Z");
//! assert!(timestamp::parse("2026-02-29T00:00:00Z").is_none(), "no such day");
//! ```

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 0001-01-01 and 9999-12-31, in days since 1970-01-01.
const DAY_MIN: i32 = -719_162;
const DAY_MAX: i32 = 2_932_896;

/// A short text on the stack; `N` is its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// The text; always ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// `2026-11-23T18:30:00.000000Z` from microseconds since 1970-01-01 UTC.
#[must_use]
pub fn format(micros: i64) -> Option<Text<27>> {
    let day = i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()?;
    let (year, month, date) = civil(day)?;
    let within = micros.rem_euclid(MICROS_PER_DAY);
    let second = within / MICROS_PER_SECOND;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let [y0, y1, y2, y3, _, m0, m1, _, d0, d1, _, h0, h1, _, i0, i1, _, s0, s1, _, f0, f1, f2, f3, f4, f5, _] =
        &mut text;
    digits([y0, y1, y2, y3], i64::from(year));
    digits([m0, m1], i64::from(month));
    digits([d0, d1], i64::from(date));
    digits([h0, h1], second / 3600);
    digits([i0, i1], second / 60 % 60);
    digits([s0, s1], second % 60);
    digits([f0, f1, f2, f3, f4, f5], within % MICROS_PER_SECOND);
    Some(Text(text))
}

/// `2026-11-23` from days since 1970-01-01.
#[must_use]
pub fn format_date(day: i32) -> Option<Text<10>> {
    let (year, month, date) = civil(day)?;
    let mut text = *b"0000-00-00";
    let [y0, y1, y2, y3, _, m0, m1, _, d0, d1] = &mut text;
    digits([y0, y1, y2, y3], i64::from(year));
    digits([m0, m1], i64::from(month));
    digits([d0, d1], i64::from(date));
    Some(Text(text))
}

/// Microseconds since 1970-01-01 UTC. Seconds may have no fraction or one of at most six digits; the offset is `Z`.
/// There is no leap second: PostgreSQL could not keep it.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let (day, time) = text.split_at_checked(10)?;
    let day = parse_date(day)?;
    let time = time.strip_prefix('T')?.strip_suffix('Z')?;
    let (clock, fraction) = match time.split_once('.') {
        Some((clock, fraction)) if !fraction.is_empty() => (clock, fraction),
        Some(_) => return None,
        None => (time, ""),
    };
    let &[h0, h1, b':', m0, m1, b':', s0, s1] = clock.as_bytes() else { return None };
    let (hour, minute, second) = (number(&[h0, h1])?, number(&[m0, m1])?, number(&[s0, s1])?);
    if hour > 23 || minute > 59 || second > 59 || fraction.len() > 6 {
        return None;
    }
    let missing = 6 - u32::try_from(fraction.len()).ok()?;
    let micros = number(fraction.as_bytes())? * 10_i64.pow(missing);
    Some(i64::from(day) * MICROS_PER_DAY + ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros)
}

/// Days since 1970-01-01.
#[must_use]
pub fn parse_date(text: &str) -> Option<i32> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = text.as_bytes() else { return None };
    let (year, month, date) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
    if !(1..=12).contains(&month) || year == 0 {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + date - 1;
    let day = i32::try_from(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468).ok()?;
    // A date the month does not have comes back as another one.
    let same = civil(day)?;
    ((i64::from(same.0), i64::from(same.1), i64::from(same.2)) == (year, month, date)).then_some(day)
}

/// Year, month and day of the month.
fn civil(day: i32) -> Option<(i32, i32, i32)> {
    if !(DAY_MIN..=DAY_MAX).contains(&day) {
        return None;
    }
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i32::from(month <= 2);
    Some((year, month, of_year - (153 * from_march + 2) / 5 + 1))
}

fn digits<const N: usize>(places: [&mut u8; N], mut number: i64) {
    for place in places.into_iter().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// Decimal digits and nothing else: no sign, no space.
fn number(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2026-11-23",
            "infinity",
            "2026-11-23 18:30:00Z",
            "2026-11-23T18:30:00",
            "2026-11-23T18:30:00+00:00",
            "2026-11-23t18:30:00z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T18:60:00Z",
            "2026-11-23T23:59:60Z",
            "2026-11-23T18:30:00.Z",
            "2026-11-23T18:30:00.1234567Z",
            "2026-11-23T18:30:00.-1Z",
            "2026-11-23T+8:30:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "2026-11-2３T18:30:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn infinity_and_years_beyond_9999_have_no_text() {
        for micros in [i64::MAX, i64::MIN, 253_402_300_800_000_000, -62_135_596_800_000_001] {
            assert_eq!(format(micros), None);
        }
        for day in [i32::MAX, i32::MIN, DAY_MIN - 1, DAY_MAX + 1] {
            assert_eq!(format_date(day), None);
        }
    }

    #[test]
    fn known_instants_are_where_they_belong() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(format(micros).unwrap().as_str(), text);
            assert_eq!(parse(text), Some(micros));
        }
        assert_eq!(parse("1970-01-01T00:00:00.5Z"), Some(500_000));
    }

    proptest! {
        #[test]
        fn every_instant_comes_back(micros in -62_135_596_800_000_000_i64..=253_402_300_799_999_999) {
            prop_assert_eq!(parse(format(micros).unwrap().as_str()), Some(micros));
        }

        #[test]
        fn every_day_comes_back_and_agrees_with_jiff(day in DAY_MIN..=DAY_MAX) {
            let text = format_date(day).unwrap();
            prop_assert_eq!(parse_date(text.as_str()), Some(day));
            let epoch = jiff::civil::date(1970, 1, 1);
            let theirs = epoch.checked_add(jiff::Span::new().days(day)).unwrap();
            prop_assert_eq!(text.as_str(), theirs.to_string());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = (parse(&text), parse_date(&text));
        }
    }
}
