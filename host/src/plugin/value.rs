//! JSON ⇄ WIT values, by [`Shape`]: nothing reaches a guest that its own types and bounds did not allow, and nothing
//! leaves that a client could not have been promised.
//!
//! Reading collects every violation with its JSON Pointer (RFC 6901) instead of stopping at the first.

pub mod write;

/// A WIT value, as the host hands it over and gets it back.
pub use wasmtime::component::Val;

use super::{
    cursor::{Scope, Sealer},
    json::Json,
    shape::{Format, Named, Record, Shape, Width},
};
use crate::{access::permit::Permit, database::timestamp, error::Violation};

/// More would tell a client nothing new.
const VIOLATIONS_MAX: usize = 32;
/// JSON writes doubles; beyond this an integer would not survive them.
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// What reading and writing need beside the shape.
#[derive(Clone, Debug)]
pub struct Boundary<'a> {
    /// None where no cursor can come: in events.
    pub sealer: Option<&'a Sealer>,
    pub scope: Scope<'a>,
}

/// Reads values and gathers what is wrong with them.
pub struct Reader<'a> {
    boundary: &'a Boundary<'a>,
    pointer: String,
    violations: Vec<Violation>,
}

impl<'a> Reader<'a> {
    /// Nothing read yet.
    #[must_use]
    pub fn new(boundary: &'a Boundary<'a>) -> Self {
        Self { boundary, pointer: String::new(), violations: Vec::new() }
    }

    /// Everything that was wrong so far; empty when all was right.
    #[must_use]
    pub fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    /// The value of a body, or none with the violations noted.
    pub fn body(&mut self, shape: &Shape, json: &Json<'_>) -> Option<Val> {
        self.pointer.clear();
        self.json(shape, json)
    }

    /// The value of a path or query parameter, named `{id}` or `?limit` in violations; `None` is an absent one.
    pub fn parameter(&mut self, shape: &Shape, name: &str, text: Option<&str>) -> Option<Val> {
        self.pointer.clear();
        self.pointer.push_str(name);
        match (shape, text) {
            (Shape::Option(_), None) => Some(Val::Option(None)),
            (_, None) => self.wrong("is missing"),
            (Shape::Option(inner), Some(text)) => self.plain(inner, text).map(some),
            (_, Some(text)) => self.plain(shape, text),
        }
    }

    /// Notes a violation at `pointer` that the caller found.
    pub fn note(&mut self, pointer: &str, detail: &str) {
        self.pointer.clear();
        self.pointer.push_str(pointer);
        self.wrong::<()>(detail);
    }

    /// A parameter's text has no types of its own: the shape says how to read it.
    fn plain(&mut self, shape: &Shape, text: &str) -> Option<Val> {
        match shape {
            Shape::Text { .. } | Shape::Enum(_) | Shape::Char => self.json(shape, &Json::Text(text.into())),
            Shape::Bool => match text {
                "true" => Some(Val::Bool(true)),
                "false" => Some(Val::Bool(false)),
                _ => self.wrong("must be true or false"),
            },
            Shape::Integer { .. } => match text.parse::<i64>() {
                // `+5` and `007` parse; they are not how an integer is written.
                Ok(number) if number.to_string() == text => self.json(shape, &Json::Integer(number)),
                _ => self.wrong("must be an integer"),
            },
            Shape::Float { .. } => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => self.json(shape, &Json::Float(number)),
                _ => self.wrong("must be a number"),
            },
            _ => self.wrong("cannot be written as a parameter"),
        }
    }

    fn json(&mut self, shape: &Shape, json: &Json<'_>) -> Option<Val> {
        match (shape, json) {
            (Shape::Option(_), Json::Null) => Some(Val::Option(None)),
            (Shape::Option(inner), json) => self.json(inner, json).map(some),
            (Shape::Bool, Json::Bool(value)) => Some(Val::Bool(*value)),
            (Shape::Integer { width, min, max, .. }, json) => self.integer(*width, *min, *max, json),
            (Shape::Float { single }, json) => self.float(*single, json),
            (Shape::Char, Json::Text(text)) => match (text.chars().next(), text.chars().nth(1)) {
                (Some(one), None) if is_harmless(one) => Some(Val::Char(one)),
                _ => self.wrong("must be one character"),
            },
            (Shape::Text { format, length_min, length_max }, Json::Text(text)) => {
                self.text(*format, (*length_min, *length_max), text)
            }
            (Shape::Enum(set), Json::Text(text)) => match set.by_json(text) {
                Some(case) => Some(Val::Enum(case.wit.clone())),
                None => self.wrong(&format!("must be one of {}", listed(set))),
            },
            (Shape::List { item, items_min, items_max }, Json::Array(items)) => {
                self.list(item, (*items_min, *items_max), items)
            }
            (Shape::Tuple(shapes), Json::Array(items)) if shapes.len() == items.len() => {
                let parts = shapes.iter().zip(items).enumerate();
                let values: Vec<Option<Val>> =
                    parts.map(|(at, (shape, item))| self.at(at, |reader| reader.json(shape, item))).collect();
                values.into_iter().collect::<Option<Vec<Val>>>().map(Val::Tuple)
            }
            (Shape::Flags(set), Json::Array(items)) => self.flags(set, items),
            (Shape::Record(record), Json::Object(entries)) => self.record(record, entries),
            (Shape::Variant(variant), Json::Object(entries)) => self.variant(variant, entries),
            (shape, _) => self.wrong(wanted(shape)),
        }
    }

    fn integer(&mut self, width: Width, min: i64, max: i64, json: &Json<'_>) -> Option<Val> {
        let number = match json {
            Json::Integer(number) => *number,
            // 2.0 is an integer (JSON Schema 2020-12 §4.2.3); it was exact before it was a double.
            #[expect(clippy::cast_possible_truncation, reason = "whole and within ±2⁵³ − 1")]
            Json::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => *number as i64,
            _ => return self.wrong("must be an integer"),
        };
        if !(min..=max).contains(&number) {
            return self.wrong(&format!("must be from {min} to {max}"));
        }
        let value = match width {
            Width::S8 => number.try_into().ok().map(Val::S8),
            Width::U8 => number.try_into().ok().map(Val::U8),
            Width::S16 => number.try_into().ok().map(Val::S16),
            Width::U16 => number.try_into().ok().map(Val::U16),
            Width::S32 => number.try_into().ok().map(Val::S32),
            Width::U32 => number.try_into().ok().map(Val::U32),
            Width::S64 => Some(Val::S64(number)),
            Width::U64 => number.try_into().ok().map(Val::U64),
        };
        value.or_else(|| self.wrong("does not fit its type"))
    }

    fn float(&mut self, single: bool, json: &Json<'_>) -> Option<Val> {
        #[expect(clippy::cast_precision_loss, reason = "a JSON number is a double to begin with")]
        let number = match json {
            Json::Integer(number) => *number as f64,
            Json::Float(number) => *number,
            _ => return self.wrong("must be a number"),
        };
        if !single {
            return Some(Val::Float64(number));
        }
        #[expect(clippy::cast_possible_truncation, reason = "rounding is what f32 means; overflow is refused")]
        let narrow = number as f32;
        if narrow.is_finite() { Some(Val::Float32(narrow)) } else { self.wrong("is out of range") }
    }

    fn text(&mut self, format: Format, (low, high): (u32, u32), text: &str) -> Option<Val> {
        // What is printable ASCII has as many characters as bytes, and none of them harms.
        let is_plain = text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte));
        let length = if is_plain { text.len() } else { text.chars().count() };
        if length < low as usize || length > high as usize {
            return self.wrong(&format!("must be {low} to {high} characters long"));
        }
        let harmful = if is_plain { None } else { text.chars().find(|c| !is_harmless(*c)) };
        if let Some(harmful) = harmful {
            return self.wrong(&format!("must not contain U+{:04X}", u32::from(harmful)));
        }
        match format {
            Format::Plain => Some(Val::String(text.to_owned())),
            Format::Uuid => match uuid::Uuid::try_parse(text) {
                Ok(id) if text.len() == 36 => Some(Val::String(id.to_string())),
                _ => self.wrong("must be a UUID like 0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f"),
            },
            Format::Email if garde::rules::email::parse_email(text).is_ok() => Some(Val::String(text.to_owned())),
            Format::Email => self.wrong("must be an e-mail address"),
            Format::Timestamp => match timestamp_micros(text) {
                Some(micros) => Some(Val::String(micros.as_str().to_owned())),
                None => self.wrong("must be a time like 2026-11-23T18:30:00Z (RFC 3339)"),
            },
            Format::Date if timestamp::parse_date(text).is_some() => Some(Val::String(text.to_owned())),
            Format::Date => self.wrong("must be a date like 2026-11-23 (RFC 3339)"),
            Format::Cursor => match self.boundary.sealer.and_then(|sealer| sealer.open(&self.boundary.scope, text)) {
                Some(plain) => Some(Val::String(plain)),
                None => self.wrong("is no cursor of this list"),
            },
        }
    }

    fn list(&mut self, shape: &Shape, (low, high): (u32, u32), items: &[Json<'_>]) -> Option<Val> {
        if items.len() < low as usize || items.len() > high as usize {
            return self.wrong(&format!("must hold {low} to {high} items"));
        }
        let mut values = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            values.push(self.at(at, |reader| reader.json(shape, item)));
        }
        values.into_iter().collect::<Option<Vec<Val>>>().map(Val::List)
    }

    fn flags(&mut self, set: &Named<()>, items: &[Json<'_>]) -> Option<Val> {
        let mut raised: Vec<String> = Vec::with_capacity(items.len());
        for item in items {
            let flag = if let Json::Text(text) = item { set.by_json(text) } else { None };
            match flag {
                Some(flag) if !raised.contains(&flag.wit) => raised.push(flag.wit.clone()),
                _ => return self.wrong(&format!("must hold each at most once of {}", listed(set))),
            }
        }
        Some(Val::Flags(raised))
    }

    fn record(&mut self, record: &Record, entries: &[(std::borrow::Cow<'_, str>, Json<'_>)]) -> Option<Val> {
        let before = self.violations.len();
        for (key, _) in entries {
            if record.by_json(key).is_none() {
                self.at(key.as_ref(), |reader| reader.wrong::<()>("is not known here"));
            }
        }
        let mut fields = Vec::with_capacity(record.members.len());
        for field in &record.members {
            let given = entries.iter().find(|(key, _)| *key == field.json).map(|(_, json)| json);
            let value = self.at(field.json.as_str(), |reader| match given {
                Some(json) => reader.json(&field.of, json),
                None if field.of.is_optional() => Some(Val::Option(None)),
                None => reader.wrong("is missing"),
            });
            fields.extend(value.map(|value| (field.wit.clone(), value)));
        }
        (self.violations.len() == before).then_some(Val::Record(fields))
    }

    fn variant(
        &mut self,
        variant: &Named<Option<Shape>>,
        entries: &[(std::borrow::Cow<'_, str>, Json<'_>)],
    ) -> Option<Val> {
        let find = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, json)| json);
        if let Some((key, _)) = entries.iter().find(|(key, _)| key != "tag" && key != "value") {
            return self.at(key.as_ref(), |reader| reader.wrong("is not known here"));
        }
        let Some(Json::Text(tag)) = find("tag") else {
            return self.at("tag", |reader| reader.wrong("must name a case"));
        };
        let Some(case) = variant.by_json(tag) else {
            return self.at("tag", |reader| reader.wrong(&format!("must be one of {}", listed(variant))));
        };
        match (&case.of, find("value")) {
            (None, None | Some(Json::Null)) => Some(Val::Variant(case.wit.clone(), None)),
            (None, Some(_)) => self.at("value", |reader| reader.wrong("is not allowed for this case")),
            (Some(shape), json) => {
                let value = self.at("value", |reader| reader.json(shape, json.unwrap_or(&Json::Null)))?;
                Some(Val::Variant(case.wit.clone(), Some(Box::new(value))))
            }
        }
    }

    /// Runs `read` one step further down the pointer.
    fn at<'s, T>(&mut self, step: impl Into<Step<'s>>, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        self.pointer.push('/');
        match step.into() {
            Step::Name(name) if name.contains(['~', '/']) => {
                self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Step::Name(name) => self.pointer.push_str(name),
            Step::Place(at) => self.pointer.push_str(itoa::Buffer::new().format(at)),
        }
        let value = read(self);
        self.pointer.truncate(length);
        value
    }

    fn wrong<T>(&mut self, detail: &str) -> Option<T> {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { pointer: self.pointer.clone(), detail: detail.to_owned() });
        }
        None
    }
}

/// One step of a JSON Pointer. Taken for each field that is read, so it borrows.
enum Step<'s> {
    Name(&'s str),
    Place(usize),
}

impl<'s> From<&'s str> for Step<'s> {
    fn from(name: &'s str) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for Step<'_> {
    fn from(at: usize) -> Self {
        Self::Place(at)
    }
}

/// Any RFC 3339 time, in the one form that guests and the database exchange.
fn timestamp_micros(text: &str) -> Option<timestamp::Text<27>> {
    timestamp::format(text.parse::<jiff::Timestamp>().ok()?.as_microsecond())
}

fn some(value: Val) -> Val {
    Val::Option(Some(Box::new(value)))
}

fn listed<T>(set: &Named<T>) -> String {
    set.members.iter().map(|member| member.json.as_str()).collect::<Vec<_>>().join(", ")
}

fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "must be true or false",
        Shape::Char | Shape::Text { .. } | Shape::Enum(_) => "must be a string",
        Shape::List { .. } | Shape::Flags(_) => "must be an array",
        Shape::Tuple(_) => "must be an array of the right length",
        Shape::Record(_) | Shape::Variant(_) => "must be an object",
        _ => "has the wrong type",
    }
}

/// Refused everywhere: control characters but tab and line ends, bidirectional overrides that make text read as what it
/// is not (CVE-2021-42574), and non-characters.
fn is_harmless(c: char) -> bool {
    !matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fdd0}'..='\u{fdef}')
        && u32::from(c) & 0xfffe != 0xfffe
}

/// The platform's `caller` for a permit: from the host and from nowhere else.
#[must_use]
pub fn caller(permit: &Permit) -> Val {
    let actor = permit.actor();
    let Some(account) = actor.account() else {
        if actor.is_anonymous() {
            return Val::Variant("anonymous".to_owned(), None);
        }
        let cause = actor.cause().map(|account| account.to_string()).unwrap_or_default();
        return Val::Variant("system".to_owned(), Some(Box::new(Val::String(cause))));
    };
    let roles = permit.roles().iter().map(|role| Val::String(role.to_string())).collect();
    let user = vec![("id".to_owned(), Val::String(account.to_string())), ("roles".to_owned(), Val::List(roles))];
    Val::Variant("user".to_owned(), Some(Box::new(Val::Record(user))))
}
