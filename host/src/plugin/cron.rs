//! When a schedule is due: five fields, in UTC (`minute hour day month weekday`), by the rules of cron(5).
//!
//! ```
//! use dinehub::plugin::cron::Cron;
//! let quarter = Cron::parse("*/15 * * * *").unwrap();
//! assert_eq!(quarter.next_s(1), Some(900), "seconds since 1970-01-01 UTC");
//! assert!(Cron::parse("* * * * * *").is_err(), "no seconds");
//! ```

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds, Year};

/// The times of one schedule.
#[derive(Clone, Debug)]
pub struct Cron(croner::Cron);

impl Cron {
    /// Reads the five fields; the sentence says what is wrong with them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map(Self).map_err(|error| error.to_string())?;
        // `0 0 31 2 *` parses, and never comes.
        if cron.next_s(0).is_none() {
            return Err("names a time that never comes".to_owned());
        }
        Ok(cron)
    }

    /// The first time after `after_s`, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn next_s(&self, after_s: i64) -> Option<i64> {
        let after: DateTime<Utc> = DateTime::from_timestamp(after_s, 0)?;
        self.0.find_next_occurrence(&after, false).ok().map(|next| next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_later_than_now() {
        let hourly = Cron::parse("0 * * * *").unwrap();
        assert_eq!(hourly.next_s(0), Some(3_600), "midnight itself is over");
        assert_eq!(hourly.next_s(3_599), Some(3_600));
        // 1970-01-01 was a Thursday.
        assert_eq!(Cron::parse("30 2 * * FRI").unwrap().next_s(0), Some(86_400 + 9_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "* * * *", "60 * * * *", "0 0 31 2 *", "* * * * * *", "every minute"] {
            assert!(Cron::parse(text).is_err(), "{text:?}");
        }
    }
}
