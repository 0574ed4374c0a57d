//! When a restaurant is open: stretches of a week on the clock of its own time zone.
//!
//! An opening begins at a minute of its weekday and ends at most a day later, counted from the same midnight: Friday
//! 18:00 to 02:00 is `{friday, 1080, 1560}`. So a night that crosses midnight is one opening, also from Sunday to Monday,
//! and 24 hours a day are seven openings `{…, 0, 1440}`. Summer time needs no care: clocks are compared, not instants.

use dinehub_sdk::{
    Explain, Rule, invalid, not_found,
    types::{Problem, Violation},
};

use crate::{
    bindings::{
        dinehub::restaurants_data::hours,
        exports::dinehub::restaurants::api::{Hours, Opening, Weekday},
    },
    restaurant,
};

const DAY_MINUTES: i32 = 1440;
const WEEK_MINUTES: i32 = 7 * DAY_MINUTES;

const RULES: &[Rule] = &[Rule::conflict("opening_is_unique", "Another change of these hours came first.")];

pub(crate) fn get(restaurant_id: &str) -> Result<Hours, Problem> {
    let mut rows = hours::read(restaurant_id)?.into_iter().peekable();
    let time_zone = rows.peek().ok_or_else(not_found)?.time_zone.clone();
    let openings = rows
        .filter_map(|row| {
            Some(Opening {
                weekday: weekday(row.weekday?)?,
                opens_minute: row.opens_minute?,
                closes_minute: row.closes_minute?,
            })
        })
        .collect();
    Ok(Hours { time_zone, openings })
}

pub(crate) fn set(restaurant_id: &str, openings: &[Opening]) -> Result<Hours, Problem> {
    are_sound(openings)?;
    restaurant::touch(restaurant_id)?;
    hours::clear(restaurant_id)?;
    let weekdays: Vec<i16> = openings.iter().map(|opening| number(opening.weekday)).collect();
    let opens: Vec<i32> = openings.iter().map(|opening| opening.opens_minute).collect();
    let closes: Vec<i32> = openings.iter().map(|opening| opening.closes_minute).collect();
    hours::add(&weekdays, &opens, &closes, restaurant_id).explain(RULES)?;
    get(restaurant_id)
}

/// Refuses openings that begin on another day, are of no or more than a day's length, and those that overlap another, also around the end of the week.
fn are_sound(openings: &[Opening]) -> Result<(), Problem> {
    let length_wanted = "must be later than opens_minute, by at most 1440";
    let violations: Vec<Violation> = openings
        .iter()
        .enumerate()
        .filter(|(_, opening)| {
            let length = opening.closes_minute.saturating_sub(opening.opens_minute);
            !(0..DAY_MINUTES).contains(&opening.opens_minute) || !(1..=DAY_MINUTES).contains(&length)
        })
        .map(|(at, _)| Violation { pointer: format!("/openings/{at}/closes_minute"), detail: length_wanted.into() })
        .collect();
    if !violations.is_empty() {
        return Err(Problem::Invalid(violations));
    }
    for (at, later) in openings.iter().enumerate() {
        if openings.iter().take(at).any(|earlier| overlap(earlier, later)) {
            return Err(invalid(&format!("/openings/{at}"), "must not overlap another opening"));
        }
    }
    Ok(())
}

/// Whether one begins before the other ends, in a week that has no end.
fn overlap(a: &Opening, b: &Opening) -> bool {
    let from_a_to_b = (begin(b) - begin(a)).rem_euclid(WEEK_MINUTES);
    let from_b_to_a = (begin(a) - begin(b)).rem_euclid(WEEK_MINUTES);
    from_a_to_b < a.closes_minute - a.opens_minute || from_b_to_a < b.closes_minute - b.opens_minute
}

/// The minute of the week.
fn begin(opening: &Opening) -> i32 {
    (i32::from(number(opening.weekday)) - 1) * DAY_MINUTES + opening.opens_minute
}

/// Days in the order of their ISO 8601 numbers.
const WEEK: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// ISO 8601: Monday is 1.
const fn number(weekday: Weekday) -> i16 {
    weekday as i16 + 1
}

fn weekday(number: i16) -> Option<Weekday> {
    WEEK.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::{Opening, WEEK, Weekday, are_sound, number, weekday};

    fn opening(weekday: Weekday, opens_minute: i32, closes_minute: i32) -> Opening {
        Opening { weekday, opens_minute, closes_minute }
    }

    #[test]
    fn an_opening_of_no_length_or_more_than_a_day_is_refused() {
        for (opens, closes) in
            [(-1, 60), (1440, 1500), (600, 600), (600, 599), (0, 1441), (1439, 2880), (i32::MIN, i32::MAX)]
        {
            assert!(are_sound(&[opening(Weekday::Monday, opens, closes)]).is_err(), "{opens}–{closes}");
        }
    }

    #[test]
    fn openings_that_overlap_are_refused() {
        let friday_night = opening(Weekday::Friday, 1080, 1560);
        assert!(are_sound(&[friday_night, friday_night]).is_err(), "the same twice");
        assert!(are_sound(&[friday_night, opening(Weekday::Saturday, 60, 600)]).is_err(), "behind midnight");
        let sunday_night = opening(Weekday::Sunday, 1080, 1560);
        assert!(are_sound(&[opening(Weekday::Monday, 60, 600), sunday_night]).is_err(), "behind the week's end");
    }

    #[test]
    fn openings_may_touch() {
        assert!(are_sound(&[]).is_ok());
        assert!(are_sound(&WEEK.map(|day| opening(day, 0, 1440))).is_ok(), "open around the clock");
        let lunch_and_dinner = [opening(Weekday::Monday, 700, 840), opening(Weekday::Monday, 1080, 1500)];
        assert!(are_sound(&lunch_and_dinner).is_ok());
    }

    #[test]
    fn weekdays_are_iso_numbers() {
        assert_eq!((number(Weekday::Monday), number(Weekday::Sunday)), (1, 7));
        for day in WEEK {
            assert_eq!(weekday(number(day)), Some(day));
        }
        assert_eq!((weekday(0), weekday(8), weekday(-1)), (None, None, None));
    }
}
