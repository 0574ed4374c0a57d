//! One `queries/<handle>/<statement>.sql`: its header, and its named parameters turned into `$1…`.
//!
//! ```sql
//! -- Place an order for the caller.
//! -- returns: one
//! insert into ordering.purchase (account_id, note) values (:caller, :note?) returning id, placed_at
//! ```
//!
//! The scanner knows where a colon is no parameter: in strings (also `E'…'` and `$tag$…$tag$`), quoted names, comments
//! and `::` casts. Comments are taken out, so that what ships is what runs.

use crate::{
    database::{
        privilege::{Draft, DraftParam, is_name},
        statement::Arity,
    },
    error::{Fault, Setup},
};

/// The most rows a list may have: one page.
const ROWS_MAX: u32 = 1_000;
/// Longer statements are refused.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// Reads a statement's file; `place` is its path as shown to people.
pub fn read(place: &str, handle: &str, name: &str, text: &str) -> Setup<Draft> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::new(place, format!("is longer than {TEXT_BYTES_MAX} bytes")).fix("split the statement"));
    }
    let (purpose, arity) = header(place, text)?;
    let Scanned { text, params } = scan(place, text)?;
    Ok(Draft { handle: handle.to_owned(), name: name.to_owned(), purpose, text, arity, params })
}

/// The comment lines before the statement: its purpose, and `returns:`.
fn header(place: &str, text: &str) -> Setup<(String, Arity)> {
    let mut purpose = Vec::new();
    let mut arity = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let Some(comment) = line.strip_prefix("--") else { break };
        match comment.trim().strip_prefix("returns:") {
            Some(word) if arity.is_none() => arity = Some(read_arity(&format!("{place}:{}", index + 1), word.trim())?),
            Some(_) => {
                return Err(Fault::new(format!("{place}:{}", index + 1), "says `returns:` twice").fix("keep one"));
            }
            None => purpose.push(comment.trim()),
        }
    }
    let purpose = purpose.join(" ").trim().to_owned();
    if purpose.is_empty() {
        return Err(Fault::new(format!("{place}:1"), "does not say what it is for")
            .fix("begin with a comment: `-- Place an order for the caller.`"));
    }
    match arity {
        Some(arity) => Ok((purpose, arity)),
        None => Err(Fault::new(format!("{place}:1"), "does not say how many rows it returns")
            .fix("add `-- returns: one`, `optional`, `many(100)` or `count` to the header")),
    }
}

fn read_arity(place: &str, word: &str) -> Setup<Arity> {
    let many = word.strip_prefix("many(").and_then(|rest| rest.strip_suffix(')')).and_then(|n| n.trim().parse().ok());
    match (word, many) {
        ("one", _) => Ok(Arity::One),
        ("optional", _) => Ok(Arity::Optional),
        ("count", _) => Ok(Arity::Count),
        (_, Some(rows_max)) if (1..=ROWS_MAX).contains(&rows_max) => Ok(Arity::Many { rows_max }),
        _ => Err(Fault::new(place, format!("`returns: {word}` is not understood"))
            .fix(format!("write `one`, `optional`, `many(1–{ROWS_MAX})` or `count`"))),
    }
}

/// A statement without comments, with `$1…`, and its parameters in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    pub text: String,
    pub params: Vec<DraftParam>,
}

/// Replaces the named parameters.
///
/// ```
/// use dinehub::plugin::bind::query::scan;
/// let scanned = scan("x.sql", "select ':a', b::int8 from t -- :c\nwhere x = :x and y = :y? and z = :x").unwrap();
/// assert_eq!(scanned.text, "select ':a', b::int8 from t \nwhere x = $1 and y = $2 and z = $1");
/// assert_eq!(scanned.params.len(), 2);
/// ```
pub fn scan(place: &str, text: &str) -> Setup<Scanned> {
    let mut scanner = Scanner { place, text, at: 0, out: String::new(), params: Vec::new() };
    scanner.run()?;
    let text = scanner.out.trim();
    let text = text.strip_suffix(';').unwrap_or(text).trim_end().to_owned();
    Ok(Scanned { text, params: scanner.params })
}

struct Scanner<'a> {
    place: &'a str,
    text: &'a str,
    at: usize,
    out: String,
    params: Vec<DraftParam>,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn refuse(&self, what: impl Into<String>, fix: &str) -> Fault {
        let line = self.text.get(..self.at).unwrap_or_default().matches('\n').count() + 1;
        Fault::new(format!("{}:{line}", self.place), what).fix(fix)
    }

    /// Copies `length` bytes.
    fn copy(&mut self, length: usize) {
        self.out.push_str(self.rest().get(..length).unwrap_or_default());
        self.at += length;
    }

    fn run(&mut self) -> Setup<()> {
        while let Some(next) = self.rest().chars().next() {
            let rest = self.rest();
            match next {
                '-' if rest.starts_with("--") => self.at += rest.find('\n').unwrap_or(rest.len()),
                '/' if rest.starts_with("/*") => self.comment()?,
                '\'' => {
                    let is_escaped = self.follows_prefix();
                    self.quoted('\'', is_escaped)?;
                }
                '"' => self.quoted('"', false)?,
                '$' => self.dollar()?,
                ':' if rest.starts_with("::") => self.copy(2),
                ':' => self.parameter()?,
                c if c.is_alphanumeric() || c == '_' => {
                    // A whole word at once, so that `$` and quotes after it are seen for what they are.
                    let length =
                        rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
                    self.copy(length);
                }
                c => self.copy(c.len_utf8()),
            }
        }
        Ok(())
    }

    /// Whether the word before a quote is exactly `E`: backslashes escape in it.
    fn follows_prefix(&self) -> bool {
        let before = self.text.get(..self.at).unwrap_or_default();
        let mut back = before.chars().rev();
        matches!(back.next(), Some('e' | 'E'))
            && !back.next().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
    }

    /// A string or a quoted name; a doubled quote is one inside.
    fn quoted(&mut self, quote: char, has_escapes: bool) -> Setup<()> {
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((index, c)) = chars.next() {
            if c == '\\' && has_escapes {
                chars.next();
            } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
                self.copy(index + 1);
                return Ok(());
            }
        }
        Err(self.refuse(format!("a {quote} is never closed"), "close it"))
    }

    /// A comment, which may hold comments; one space stays.
    fn comment(&mut self) -> Setup<()> {
        let rest = self.rest();
        let (mut depth, mut index) = (0_usize, 0_usize);
        while let Some(here) = rest.get(index..) {
            if here.starts_with("/*") {
                depth += 1;
                index += 2;
            } else if here.starts_with("*/") {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    self.at += index;
                    self.out.push(' ');
                    return Ok(());
                }
            } else {
                match here.chars().next() {
                    Some(c) => index += c.len_utf8(),
                    None => break,
                }
            }
        }
        Err(self.refuse("a comment is never closed", "close it with `*/`"))
    }

    /// `$tag$ … $tag$`; a bare `$1` would take a parameter's place.
    fn dollar(&mut self) -> Setup<()> {
        let rest = self.rest();
        let tag = rest.get(1..).and_then(|after| {
            let end = after.find('$')?;
            let tag = after.get(..end)?;
            let is_tag =
                tag.chars().all(|c| c.is_alphanumeric() || c == '_') && !tag.starts_with(|c: char| c.is_ascii_digit());
            is_tag.then(|| format!("${tag}$"))
        });
        let Some(tag) = tag else {
            return Err(self.refuse("a `$` stands outside a string", "write parameters as `:name`"));
        };
        match rest.get(tag.len()..).and_then(|after| after.find(&tag)) {
            Some(length) => {
                self.copy(length + 2 * tag.len());
                Ok(())
            }
            None => Err(self.refuse(format!("a {tag} is never closed"), "close it")),
        }
    }

    /// `:name` or `:name?`.
    fn parameter(&mut self) -> Setup<()> {
        let after = self.rest().get(1..).unwrap_or_default();
        let length = after.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len());
        let name = after.get(..length).unwrap_or_default();
        if name.is_empty() {
            self.copy(1);
            return Ok(());
        }
        if !is_name(name) {
            return Err(self.refuse(
                format!("`:{name}` is no name for a parameter"),
                "lower case, words that start with a letter, joined by single `_`: `:owner_id`; an array slice needs \
                 a space: `a[1 : 2]`",
            ));
        }
        let nullable = after.get(length..).is_some_and(|tail| tail.starts_with('?'));
        let known = self.params.iter().position(|param| param.name == name);
        let position = match known {
            Some(position) => {
                if self.params.get(position).is_some_and(|param| param.nullable != nullable) {
                    return Err(self
                        .refuse(format!("`:{name}` and `:{name}?` are both used"), "write it the same way each time"));
                }
                position
            }
            None => {
                self.params.push(DraftParam { name: name.to_owned(), nullable });
                self.params.len() - 1
            }
        };
        self.out.push_str(&format!("${}", position + 1));
        self.at += 1 + length + usize::from(nullable);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        scan("x.sql", text).unwrap().params.into_iter().map(|param| param.name).collect()
    }

    #[test]
    fn a_colon_in_a_string_a_name_a_comment_or_a_cast_is_no_parameter() {
        for text in [
            "select ':a'",
            "select 'it''s :a'",
            r"select E'\' :a'",
            r"select e'\\', ':a'",
            r#"select ":a""#,
            "select 1::int8",
            "select $$ :a $$",
            "select $t$ :a $$ $t$",
            "select 1 -- :a",
            "select 1 /* :a /* :b */ :c */",
            r"select U&'\0061:a'",
            r"select 'a\', 1",
            "select a[1 : 2]",
            "select x.\"a\"\":b\"",
        ] {
            assert_eq!(names(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn each_name_gets_one_number() {
        let scanned = scan("x.sql", "select :b::int8, :a?, :b, ':c', :d;").unwrap();
        assert_eq!(scanned.text, "select $1::int8, $2, $1, ':c', $3");
        let nullable: Vec<bool> = scanned.params.iter().map(|param| param.nullable).collect();
        assert_eq!(nullable, [false, true, false]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_line() {
        for (text, line, what) in [
            ("select\n :Name", 2, "no name"),
            ("select :a__b", 1, "no name"),
            ("select :a_", 1, "no name"),
            ("select :_a", 1, "no name"),
            ("select :a_2", 1, "no name"),
            ("select $1", 1, "outside a string"),
            ("select\n\n'open", 3, "never closed"),
            ("select /* open", 1, "never closed"),
            ("select $x$ open", 1, "never closed"),
            ("select :a, :a?", 1, "both used"),
        ] {
            let fault = scan("x.sql", text).unwrap_err().to_string();
            assert!(fault.starts_with(&format!("x.sql:{line}: ")) && fault.contains(what), "{text}: {fault}");
        }
    }

    #[test]
    fn a_header_says_purpose_and_rows() {
        let draft = read("x.sql", "h", "n", "-- List\n-- them.\n-- returns: many(50)\nselect 1").unwrap();
        assert_eq!((draft.purpose.as_str(), draft.arity), ("List them.", Arity::Many { rows_max: 50 }));
        for text in ["select 1", "-- x\nselect 1", "-- returns: one\nselect 1", "-- x\n-- returns: many(0)\nselect 1"] {
            assert!(read("x.sql", "h", "n", text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_out_as_it_was(inside in "[^\u{0}]{0,40}", name in "[a-z]{1,8}") {
            let string = format!("'{}'", inside.replace('\'', "''"));
            let quoted = format!("\"{}\"", inside.replace('"', "\"\""));
            let scanned = scan("x.sql", &format!("select {string}, :{name}, {quoted} /* {} */", inside.replace(['/', '*'], ""))).unwrap();
            prop_assert_eq!(scanned.text, format!("select {string}, $1, {quoted}"));
            prop_assert_eq!(scanned.params.len(), 1);
        }

        #[test]
        fn no_text_makes_the_scanner_panic(text in ".{0,200}") {
            let _ = scan("x.sql", &text);
        }
    }
}
