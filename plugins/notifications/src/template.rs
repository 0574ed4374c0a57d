//! The words of a notice: a text of the granted directory, whose first line is the title.

/// What a template may name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    pub(crate) restaurant: &'a str,
    pub(crate) total: &'a str,
}

/// What the columns hold.
const TITLE_CHARS_MAX: usize = 200;
const BODY_CHARS_MAX: usize = 2_000;

/// Title and body; none when the template is no two parts. A value that looks like a name stays as it is.
pub(crate) fn fill(template: &str, words: &Words<'_>) -> Option<(String, String)> {
    let (title, body) = template.split_once('\n')?;
    let filled = |text: &str, max: usize| -> String { replace(text.trim(), words).chars().take(max).collect() };
    Some((filled(title, TITLE_CHARS_MAX), filled(body, BODY_CHARS_MAX)))
}

/// One pass over the template, never over what was put in.
fn replace(text: &str, words: &Words<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let named = after.split_once('}').and_then(|(name, after)| Some((words.named(name)?, after)));
        match named {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

impl Words<'_> {
    fn named(&self, name: &str) -> Option<&str> {
        match name {
            "restaurant" => Some(self.restaurant),
            "total" => Some(self.total),
            _ => None,
        }
    }
}

/// `12.50 EUR`.
pub(crate) fn money(cents: i64, currency: &str) -> String {
    format!("{}{}.{:02} {currency}", if cents < 0 { "-" } else { "" }, (cents / 100).abs(), (cents % 100).abs())
}

#[cfg(test)]
mod tests {
    use super::{Words, fill, money};

    #[test]
    fn what_is_put_in_is_not_read_again() {
        let words = Words { restaurant: "{total} {x}", total: "5.00 EUR" };
        let (title, body) = fill("{restaurant}!\nIt is {total}, {unknown}, {total\n", &words).unwrap();
        assert_eq!((title.as_str(), body.as_str()), ("{total} {x}!", "It is 5.00 EUR, {unknown}, {total"));
    }

    #[test]
    fn a_long_name_is_cut_and_one_line_is_no_template() {
        let long = "é".repeat(3_000);
        let (title, body) = fill("{restaurant}\n{restaurant}", &Words { restaurant: &long, total: "" }).unwrap();
        assert_eq!((title.chars().count(), body.chars().count()), (200, 2_000));
        assert_eq!(fill("title", &Words { restaurant: "", total: "" }), None);
    }

    #[test]
    fn money_is_written_in_hundredths() {
        for (cents, text) in [(0, "0.00 EUR"), (5, "0.05 EUR"), (123_456, "1234.56 EUR"), (-5, "-0.05 EUR")] {
            assert_eq!(money(cents, "EUR"), text);
        }
    }
}
