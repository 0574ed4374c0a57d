//! The words of a notice: a text of the granted directory, whose first line is the title. The kind of the news names the
//! file, and nothing that anybody typed does.

/// What a template may name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    /// A payment's news knows none.
    pub(crate) restaurant: Option<&'a str>,
    pub(crate) total: &'a str,
}

/// What the columns hold.
const TITLE_CHARS_MAX: usize = 200;
const BODY_CHARS_MAX: usize = 2_000;

/// Title and body, both plain text; the sentence says what is wrong with the template.
pub(crate) fn fill(template: &str, words: &Words<'_>) -> Result<(String, String), String> {
    let (title, body) = template.trim().split_once('\n').ok_or("has no title and body")?;
    let filled = |text: &str, max: usize| -> Result<String, String> {
        Ok(replace(text.trim(), words)?.chars().take(max).collect())
    };
    Ok((filled(title, TITLE_CHARS_MAX)?, filled(body, BODY_CHARS_MAX)?))
}

/// One pass over the template, never over what was put in.
fn replace(text: &str, words: &Words<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("has a `{` without its `}`")?;
        let value = words.named(name).ok_or_else(|| format!("names `{name}`, which there is none of"))?;
        out.push_str(before);
        out.extend(value.chars().filter(|c| !turns(*c)).map(|c| if breaks(c) { ' ' } else { c }));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// What somebody typed stays in its line, wherever a gateway puts it: a title may become a header.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Characters that make a reader see the words around them in another order.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Words<'_> {
    fn named(&self, name: &str) -> Option<&str> {
        match name {
            "restaurant" => self.restaurant,
            "total" => Some(self.total),
            _ => None,
        }
    }
}

/// `12.50 EUR`.
pub(crate) fn money(cents: i64, currency: &str) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02} {currency}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::{Words, fill, money};

    fn words(restaurant: &str) -> Words<'_> {
        Words { restaurant: Some(restaurant), total: "5.00 EUR" }
    }

    #[test]
    fn what_is_put_in_is_not_read_again() {
        let (title, body) = fill("{restaurant}!\nIt is {total}.\n", &words("{total} {x} <b>")).unwrap();
        assert_eq!((title.as_str(), body.as_str()), ("{total} {x} <b>!", "It is 5.00 EUR."));
    }

    #[test]
    fn what_is_put_in_begins_no_line_and_turns_none_around() {
        let evil = "A\r\nBcc: all\u{2028}B\0\u{202e}C\u{2066}\u{85}D";
        let (title, body) = fill("{restaurant}\n{restaurant}\nfirst\nsecond", &words(evil)).unwrap();
        assert_eq!(title, "A  Bcc: all B C D");
        assert_eq!(body.lines().count(), 3, "the template's own lines stay: {body}");
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let long = "é".repeat(3_000);
        let (title, body) = fill("{restaurant}\n{restaurant}", &words(&long)).unwrap();
        assert_eq!((title.chars().count(), body.chars().count()), (200, 2_000));
    }

    #[test]
    fn a_template_that_is_none_is_not_sent() {
        for template in ["", "title", "title\n", "\n\nbody", "t\n{unknown}", "t\n{total", "{}\nb", "{to{total}}\nb"] {
            assert!(fill(template, &words("A")).is_err(), "{template:?}");
        }
        let of_payment = Words { restaurant: None, total: "5.00 EUR" };
        assert!(fill("{restaurant}\nb", &of_payment).unwrap_err().contains("`restaurant`"));
    }

    #[test]
    fn money_is_written_in_hundredths() {
        for (cents, text) in [(0, "0.00 EUR"), (5, "0.05 EUR"), (123_456, "1234.56 EUR"), (-5, "-0.05 EUR")] {
            assert_eq!(money(cents, "EUR"), text);
        }
        assert_eq!(money(i64::MIN, "X"), "-92233720368547758.08 X");
    }
}
