//! WIT values → JSON: one pass into a buffer, by the shape of the function's own result.

use std::io::Write as _;

use wasmtime::component::Val;

use super::{Boundary, EXACT_MAX};
use crate::plugin::shape::{Format, Shape};

/// Appends `value` as JSON. An error means that the value is not what its type or the boundary allows: the plugin's fault.
pub fn write(boundary: &Boundary<'_>, shape: &Shape, value: &Val, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match (shape, value) {
        (Shape::Option(_), Val::Option(None)) => out.extend_from_slice(b"null"),
        (Shape::Option(shape), Val::Option(Some(value))) => write(boundary, shape, value, out)?,
        (Shape::Bool, Val::Bool(value)) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        (Shape::Integer { .. }, value) => integer(value, out)?,
        (Shape::Float { .. }, Val::Float32(value)) => float(f64::from(*value), out)?,
        (Shape::Float { .. }, Val::Float64(value)) => float(*value, out)?,
        (Shape::Char, Val::Char(value)) => text(value.encode_utf8(&mut [0; 4]), out),
        (Shape::Text { format: Format::Cursor, .. }, Val::String(plain)) => {
            let sealed = boundary.sealer.and_then(|sealer| sealer.seal(&boundary.scope, plain).ok());
            let sealed = sealed.ok_or("a cursor could not be sealed")?;
            text(&sealed, out);
        }
        (Shape::Text { .. }, Val::String(value)) => text(value, out),
        (Shape::Enum(set), Val::Enum(case)) => {
            text(&set.by_wit(case).ok_or("an enum case that its type does not have")?.json, out);
        }
        (Shape::List { item, .. }, Val::List(values)) => {
            sequence(values.iter(), out, |value, out| write(boundary, item, value, out))?;
        }
        (Shape::Tuple(shapes), Val::Tuple(values)) => {
            sequence(shapes.iter().zip(values), out, |(shape, value), out| write(boundary, shape, value, out))?;
        }
        (Shape::Flags(set), Val::Flags(raised)) => {
            let raised = set.members.iter().filter(|flag| raised.contains(&flag.wit));
            sequence(raised, out, |flag, out| {
                text(&flag.json, out);
                Ok(())
            })?;
        }
        (Shape::Record(record), Val::Record(fields)) => {
            let mut mark = b'{';
            for (member, (_, value)) in record.members.iter().zip(fields) {
                out.push(mark);
                mark = b',';
                text(&member.json, out);
                out.push(b':');
                write(boundary, &member.of, value, out)?;
            }
            out.push(b'}');
        }
        (Shape::Variant(variant), Val::Variant(case, payload)) => {
            let case = variant.by_wit(case).ok_or("a variant case that its type does not have")?;
            out.extend_from_slice(b"{\"tag\":");
            text(&case.json, out);
            if let (Some(shape), Some(payload)) = (&case.of, payload) {
                out.extend_from_slice(b",\"value\":");
                write(boundary, shape, payload, out)?;
            }
            out.push(b'}');
        }
        _ => return Err("a value that is not of its function's type"),
    }
    Ok(())
}

fn sequence<T>(
    items: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut each: impl FnMut(T, &mut Vec<u8>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(item, out)?;
    }
    out.push(b']');
    Ok(())
}

fn integer(value: &Val, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let number = match value {
        Val::S8(n) => i64::from(*n),
        Val::U8(n) => i64::from(*n),
        Val::S16(n) => i64::from(*n),
        Val::U16(n) => i64::from(*n),
        Val::S32(n) => i64::from(*n),
        Val::U32(n) => i64::from(*n),
        Val::S64(n) => *n,
        Val::U64(n) => i64::try_from(*n).map_err(|_| BEYOND)?,
        _ => return Err("a value that is not of its function's type"),
    };
    if number.unsigned_abs() > crate::plugin::shape::INTEGER_MAX.unsigned_abs() {
        return Err(BEYOND);
    }
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(number).as_bytes());
    Ok(())
}

const BEYOND: &str = "an integer beyond 2^53 - 1, which JSON cannot carry exactly";

fn float(value: f64, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if !value.is_finite() {
        return Err("a float that is not finite, which JSON cannot carry");
    }
    let whole = value.fract() == 0.0 && value.abs() <= EXACT_MAX;
    // Writing to a Vec cannot fail.
    let _ = if whole { write!(out, "{value:.1}") } else { write!(out, "{value:?}") };
    Ok(())
}

/// A JSON string. Also safe inside HTML: `<`, `>`, `&` and the line separators leave as escapes (S04).
fn text(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    // Nearly every text is plain: looked through without a branch, many bytes at a time, and copied whole.
    if !value.bytes().fold(false, |found, byte| found | may_need_escape(byte)) {
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
        return;
    }
    let mut plain = 0;
    for (at, c) in value.char_indices() {
        let escape: &[u8] = match c {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            '<' => b"\\u003c",
            '>' => b"\\u003e",
            '&' => b"\\u0026",
            '\u{2028}' => b"\\u2028",
            '\u{2029}' => b"\\u2029",
            c if c < ' ' => {
                let _ = write!(&mut *out_plain(out, value, plain, at), "\\u{:04x}", u32::from(c));
                plain = at + 1;
                continue;
            }
            _ => continue,
        };
        out_plain(out, value, plain, at).extend_from_slice(escape);
        plain = at + c.len_utf8();
    }
    out_plain(out, value, plain, value.len()).push(b'"');
}

/// A byte of what is escaped; `0xe2` begins the line separators, and other characters.
fn may_need_escape(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\') | (byte == b'<') | (byte == b'>') | (byte == b'&') | (byte == 0xe2)
}

/// Appends the stretch of `value` that needed no escape, and hands the buffer on.
fn out_plain<'o>(out: &'o mut Vec<u8>, value: &str, from: usize, to: usize) -> &'o mut Vec<u8> {
    out.extend_from_slice(value.get(from..to).unwrap_or_default().as_bytes());
    out
}
