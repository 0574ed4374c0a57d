//! A person's name: shown to other people, so nothing in it may hide or turn the text around it.

use crate::error::Error;

const CHARS_MAX: usize = 100;

/// 422 for a name that is blank, too long, or holds a character that cannot be seen.
pub fn ensure_name(name: &str) -> Result<(), Error> {
    // The joiners U+200C and U+200D stay: names in Persian and Hindi need them.
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let length = name.chars().count();
    if name.trim().is_empty() || length > CHARS_MAX || name.chars().any(is_hidden) {
        let detail = format!("must have 1–{CHARS_MAX} characters, all of them visible");
        return Err(Error::invalid("/name", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hide_or_turn_text() {
        for name in ["", "  ", "a\nb", "a\0b", "evil\u{202e}txt", "a\u{200b}b", &"x".repeat(101)] {
            assert!(ensure_name(name).is_err(), "{name:?}");
        }
        for name in ["Ana", "Żółć Łukasz", "O'Neil-Smith <3", "李小龙", "علی\u{200c}رضا"] {
            assert!(ensure_name(name).is_ok(), "{name:?}");
        }
    }
}
