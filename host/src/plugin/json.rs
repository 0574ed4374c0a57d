//! Strict JSON (RFC 8259, and narrower where two readers could disagree): duplicate keys, deep nesting and numbers that
//! do not fit are refused, with the place. serde_json does the tokens; this file decides what may be built from them.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::Error;

/// Arrays and objects may stand this deep in each other.
const DEPTH_MAX: usize = 64;

/// A document that was read: keys are unique and in the order they came.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// A number without fraction or exponent that fits.
    Integer(i64),
    /// Any other finite number.
    Float(f64),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Reads one document; anything after it but white space is refused.
pub fn read(bytes: &[u8]) -> Result<Json<'_>, Error> {
    // serde_json would report bad UTF-8 only inside strings it decodes.
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Malformed("The body is not UTF-8.".into()))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let depth = Cell::new(0);
    let value = Seed(&depth).deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| Error::Malformed(format!("The body is not valid JSON: {error}.").into()))
}

#[derive(Clone, Copy)]
struct Seed<'d>(&'d Cell<usize>);

/// Counts one level of nesting for as long as it lives.
struct Level<'d>(&'d Cell<usize>);

impl<'d> Seed<'d> {
    fn descend<E: serde::de::Error>(self) -> Result<Level<'d>, E> {
        self.0.set(self.0.get() + 1);
        let level = Level(self.0);
        if self.0.get() > DEPTH_MAX {
            return Err(E::custom(format_args!("more than {DEPTH_MAX} levels deep")));
        }
        Ok(level)
    }
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Json<'de>, E> {
        i64::try_from(value).map(Json::Integer).map_err(|_| E::custom("number out of range"))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json<'de>, E> {
        if value.is_finite() { Ok(Json::Float(value)) } else { Err(E::custom("number out of range")) }
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let _level = self.descend::<A::Error>()?;
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let _level = self.descend::<A::Error>()?;
        let mut all: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        while let Some(Key(key)) = entries.next_key::<Key<'de>>()? {
            if all.iter().any(|(known, _)| *known == key) {
                // A name may be as long as the body; the refusal is not.
                let name: String = key.chars().take(NAME_SHOWN).collect();
                return Err(A::Error::custom(format_args!("duplicate key {name:?}")));
            }
            if all.len() == KEYS_MAX {
                return Err(A::Error::custom(format_args!("more than {KEYS_MAX} keys in one object")));
            }
            all.push((key, entries.next_value_seed(self)?));
        }
        Ok(Json::Object(all))
    }
}

/// So much of a name is said back, in characters.
const NAME_SHOWN: usize = 64;

/// No record has as many fields; finding duplicates stays cheap.
const KEYS_MAX: usize = 256;

/// An object's key, borrowed where it needs no unescaping.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &[u8], why: &str) {
        let error = read(text).unwrap_err();
        assert!(error.public().contains(why), "{:?} said {:?}", String::from_utf8_lossy(text), error.public());
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        refused(br#"{"a":1,"a":2}"#, "duplicate key");
        refused(br#"{"a":1,"\u0061":2}"#, "duplicate key");
        refused(b"{} {}", "trailing");
        refused(b"18446744073709551615", "out of range");
        refused(b"1e999", "out of range");
        refused(b"NaN", "expected");
        refused(b"\xff", "UTF-8");
        refused(b"\"\\ud800\"", "hex escape");
        refused(b"", "EOF");
        refused(b"[1,]", "trailing comma");
        refused(b"\xef\xbb\xbf{}", "expected value");
    }

    #[test]
    fn nesting_stops_at_the_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
        refused(nested(DEPTH_MAX + 1).as_bytes(), "levels deep");
    }
}
