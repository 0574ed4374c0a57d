//! One value on its way between a plugin's typed call and PostgreSQL's binary format.
//!
//! [`Datum`] is written straight into the Bind message and read straight out of a row: text and lists are borrowed, so a
//! cell costs no allocation. Types are compared once, when a statement is prepared on a connection (`Kind::is`); from
//! then on a cell is read by its [`Kind`].

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, Kind as Shape, ToSql, Type};
use uuid::Uuid;

use super::statement::Kind;

/// PostgreSQL counts from 2000-01-01; we count from 1970-01-01, as everybody else.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

/// What goes wrong when a value is written or read; a sentence for the log.
pub type Mismatch = Box<dyn std::error::Error + Sync + Send>;

/// A parameter that its type cannot take; nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(String);

/// A value that may cross the boundary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Datum<'a> {
    Null,
    Bool(bool),
    /// `int2`, `int4` or `int8`; a number that does not fit the column is refused, never cut.
    Int(i64),
    Float(f64),
    /// `text`, `varchar`, or an enum's label.
    Text(&'a str),
    Uuid(Uuid),
    /// Microseconds since 1970-01-01 UTC; see [`super::timestamp`] for its text.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    List(List<'a>),
}

/// A one-dimensional array without NULLs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum List<'a> {
    /// On its way in.
    Given(&'a [Datum<'a>]),
    /// On its way out: elements of one kind, in PostgreSQL's format, each after its length.
    Stored { kind: &'a Kind, length: usize, bytes: &'a [u8] },
}

/// A cell as it lies in the row.
pub(super) struct Cell<'a>(pub(super) Option<&'a [u8]>);

impl Kind {
    /// Whether a parameter or column of this kind is what PostgreSQL calls `ty`: the host and the database agree.
    pub(super) fn is(&self, ty: &Type) -> bool {
        match self {
            Self::Bool => *ty == Type::BOOL,
            Self::Int2 => *ty == Type::INT2,
            Self::Int4 => *ty == Type::INT4,
            Self::Int8 => *ty == Type::INT8,
            Self::Float8 => *ty == Type::FLOAT8,
            Self::Text => is_text(ty),
            Self::Uuid => *ty == Type::UUID,
            Self::Timestamp => *ty == Type::TIMESTAMPTZ,
            Self::Date => *ty == Type::DATE,
            Self::Enum { labels, .. } => matches!(ty.kind(), Shape::Enum(theirs) if theirs == labels),
            Self::List(element) => matches!(ty.kind(), Shape::Array(theirs) if element.is(theirs)),
        }
    }
}

impl<'a> Datum<'a> {
    /// Reads a cell. Errors when the bytes are no value of this kind, an infinity, or an array of more dimensions.
    pub fn read(kind: &'a Kind, cell: Option<&'a [u8]>) -> Result<Self, Mismatch> {
        let Some(bytes) = cell else { return Ok(Self::Null) };
        Ok(match kind {
            Kind::Bool => match fixed(bytes)? {
                [0] => Self::Bool(false),
                [_] => Self::Bool(true),
            },
            Kind::Int2 => Self::Int(i16::from_be_bytes(fixed(bytes)?).into()),
            Kind::Int4 => Self::Int(i32::from_be_bytes(fixed(bytes)?).into()),
            Kind::Int8 => Self::Int(i64::from_be_bytes(fixed(bytes)?)),
            Kind::Float8 => Self::Float(f64::from_be_bytes(fixed(bytes)?)),
            Kind::Text | Kind::Enum { .. } => Self::Text(std::str::from_utf8(bytes)?),
            Kind::Uuid => Self::Uuid(Uuid::from_bytes(fixed(bytes)?)),
            Kind::Timestamp => match i64::from_be_bytes(fixed(bytes)?) {
                i64::MAX | i64::MIN => return Err("an infinite timestamp has no text".into()),
                micros => Self::Timestamp(micros.checked_add(EPOCH_MICROS).ok_or("a timestamp out of range")?),
            },
            Kind::Date => match i32::from_be_bytes(fixed(bytes)?) {
                i32::MAX | i32::MIN => return Err("an infinite date has no text".into()),
                days => Self::Date(days.checked_add(EPOCH_DAYS).ok_or("a date out of range")?),
            },
            Kind::List(element) => Self::List(List::read(element, bytes)?),
        })
    }
}

impl<'a> List<'a> {
    /// The elements, in order.
    pub fn iter(self) -> impl Iterator<Item = Result<Datum<'a>, Mismatch>> {
        let (given, mut stored) = match self {
            Self::Given(data) => (data, None),
            Self::Stored { kind, bytes, .. } => (&[][..], Some((kind, bytes))),
        };
        let stored = std::iter::from_fn(move || {
            let (kind, bytes) = stored.as_mut().filter(|(_, bytes)| !bytes.is_empty())?;
            Some(element(bytes).and_then(|cell| Datum::read(kind, Some(cell))))
        });
        given.iter().copied().map(Ok).chain(stored)
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Given(data) => data.len(),
            Self::Stored { length, .. } => length,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// An array's head: dimensions, whether NULLs may follow, element type; then for each dimension length and bound.
    fn read(kind: &'a Kind, mut bytes: &'a [u8]) -> Result<Self, Mismatch> {
        let dimensions = i32::from_be_bytes(take(&mut bytes)?);
        let nulls = i32::from_be_bytes(take(&mut bytes)?);
        let _element: [u8; 4] = take(&mut bytes)?;
        let length = match dimensions {
            0 => 0,
            1 => {
                let length = i32::from_be_bytes(take(&mut bytes)?);
                let _bound: [u8; 4] = take(&mut bytes)?;
                usize::try_from(length)?
            }
            _ => return Err("an array of more than one dimension".into()),
        };
        if nulls != 0 {
            return Err("an array with NULLs".into());
        }
        Ok(Self::Stored { kind, length, bytes })
    }
}

impl Datum<'_> {
    fn write(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Mismatch> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Bool(value) if *ty == Type::BOOL => out.put_u8((*value).into()),
            Self::Int(value) if *ty == Type::INT8 => out.put_i64(*value),
            Self::Int(value) if *ty == Type::INT4 => out.put_i32((*value).try_into()?),
            Self::Int(value) if *ty == Type::INT2 => out.put_i16((*value).try_into()?),
            Self::Float(value) if *ty == Type::FLOAT8 => out.put_f64(*value),
            Self::Text(value) if is_text(ty) || matches!(ty.kind(), Shape::Enum(_)) => out.put_slice(value.as_bytes()),
            Self::Uuid(value) if *ty == Type::UUID => out.put_slice(value.as_bytes()),
            Self::Timestamp(micros) if *ty == Type::TIMESTAMPTZ => {
                out.put_i64(micros.checked_sub(EPOCH_MICROS).ok_or("a timestamp out of range")?);
            }
            Self::Date(days) if *ty == Type::DATE => {
                out.put_i32(days.checked_sub(EPOCH_DAYS).ok_or("a date out of range")?);
            }
            Self::List(list) => match ty.kind() {
                Shape::Array(element) => list.write(element, out)?,
                _ => return Err(format!("a list is no {ty}").into()),
            },
            other => return Err(format!("{other:?} is no {ty}").into()),
        }
        Ok(IsNull::No)
    }
}

impl List<'_> {
    fn write(self, element: &Type, out: &mut BytesMut) -> Result<(), Mismatch> {
        let length = i32::try_from(self.len())?;
        out.put_i32(i32::from(length > 0));
        out.put_i32(0);
        out.put_u32(element.oid());
        if length > 0 {
            out.put_i32(length);
            out.put_i32(1);
        }
        for datum in self.iter() {
            let at = out.len();
            out.put_i32(0);
            if let IsNull::Yes = datum?.write(element, out)? {
                return Err("an array with NULLs".into());
            }
            let size = i32::try_from(out.len() - at - 4)?;
            out.get_mut(at..at + 4).ok_or("no room for a length")?.copy_from_slice(&size.to_be_bytes());
        }
        Ok(())
    }
}

impl ToSql for Datum<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Mismatch> {
        self.write(ty, out).map_err(|why| Unfit(why.to_string()).into())
    }

    /// Which types fit depends on the value: [`Self::to_sql`] decides.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Mismatch> {
        self.to_sql(ty, out)
    }
}

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Mismatch> {
        Ok(Self(Some(bytes)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Mismatch> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn is_text(ty: &Type) -> bool {
    *ty == Type::TEXT || *ty == Type::VARCHAR
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Mismatch> {
    bytes.try_into().map_err(|_| format!("{} bytes where {N} are due", bytes.len()).into())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Mismatch> {
    let (head, tail) = bytes.split_first_chunk().ok_or("an array that ends early")?;
    *bytes = tail;
    Ok(*head)
}

/// Cuts the next element off; an error also ends the list.
fn element<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Mismatch> {
    let rest = std::mem::take(bytes);
    let (size, rest) = rest.split_first_chunk().ok_or("an array that ends early")?;
    let size = usize::try_from(i32::from_be_bytes(*size))?;
    let (element, rest) = rest.split_at_checked(size).ok_or("an array that ends early")?;
    *bytes = rest;
    Ok(element)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(datum: Datum<'_>, ty: &Type) -> Result<Vec<u8>, Mismatch> {
        let mut out = BytesMut::new();
        datum.to_sql_checked(ty, &mut out).map(|_| out.to_vec())
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused_not_cut() {
        assert!(written(Datum::Int(32_768), &Type::INT2).is_err());
        assert!(written(Datum::Int(i64::from(i32::MIN) - 1), &Type::INT4).is_err());
        assert_eq!(written(Datum::Int(-1), &Type::INT2).unwrap(), [0xff, 0xff]);
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (datum, ty) in [
            (Datum::Text("1"), Type::INT4),
            (Datum::Int(1), Type::TEXT),
            (Datum::Text("x"), Type::JSONB),
            (Datum::Timestamp(0), Type::TIMESTAMP),
            (Datum::List(List::Given(&[])), Type::TEXT),
            (Datum::List(List::Given(&[Datum::Null])), Type::TEXT_ARRAY),
            (Datum::Timestamp(i64::MIN), Type::TIMESTAMPTZ),
        ] {
            assert!(written(datum, &ty).is_err(), "{datum:?} as {ty}");
        }
    }

    #[test]
    fn an_infinity_is_refused() {
        assert!(Datum::read(&Kind::Timestamp, Some(&i64::MAX.to_be_bytes())).is_err());
        assert!(Datum::read(&Kind::Timestamp, Some(&i64::MIN.to_be_bytes())).is_err());
        assert!(Datum::read(&Kind::Date, Some(&i32::MAX.to_be_bytes())).is_err());
        assert!(Datum::read(&Kind::Date, Some(&i32::MIN.to_be_bytes())).is_err());
    }

    fn scalar() -> impl Strategy<Value = (Kind, Type, Datum<'static>)> {
        prop_oneof![
            any::<bool>().prop_map(|v| (Kind::Bool, Type::BOOL, Datum::Bool(v))),
            any::<i16>().prop_map(|v| (Kind::Int2, Type::INT2, Datum::Int(v.into()))),
            any::<i32>().prop_map(|v| (Kind::Int4, Type::INT4, Datum::Int(v.into()))),
            any::<i64>().prop_map(|v| (Kind::Int8, Type::INT8, Datum::Int(v))),
            any::<i32>().prop_map(|v| (Kind::Float8, Type::FLOAT8, Datum::Float(f64::from(v) / 7.0))),
            any::<u128>().prop_map(|v| (Kind::Uuid, Type::UUID, Datum::Uuid(Uuid::from_u128(v)))),
            (-1_i64 << 56..1_i64 << 56).prop_map(|v| (Kind::Timestamp, Type::TIMESTAMPTZ, Datum::Timestamp(v))),
            (-700_000..2_900_000).prop_map(|v| (Kind::Date, Type::DATE, Datum::Date(v))),
            ".{0,20}".prop_map(|v| (Kind::Text, Type::TEXT, Datum::Text(v.leak()))),
        ]
    }

    proptest! {
        #[test]
        fn every_value_comes_back((kind, ty, datum) in scalar()) {
            let bytes = written(datum, &ty).unwrap();
            prop_assert_eq!(Datum::read(&kind, Some(&bytes)).unwrap(), datum);
        }

        #[test]
        fn every_list_comes_back(numbers in prop::collection::vec(any::<i32>(), 0..9)) {
            let data: Vec<Datum<'_>> = numbers.iter().map(|n| Datum::Int((*n).into())).collect();
            let bytes = written(Datum::List(List::Given(&data)), &Type::INT4_ARRAY).unwrap();
            let kind = Kind::List(Box::new(Kind::Int4));
            let Datum::List(list) = Datum::read(&kind, Some(&bytes)).unwrap() else { panic!("a list") };
            prop_assert_eq!(list.len(), numbers.len());
            let back: Vec<Datum<'_>> = list.iter().map(Result::unwrap).collect();
            prop_assert_eq!(back, data);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for kind in [Kind::Bool, Kind::Int8, Kind::Text, Kind::Uuid, Kind::List(Box::new(Kind::Text))] {
                if let Ok(Datum::List(list)) = Datum::read(&kind, Some(&bytes)) {
                    let _ = list.iter().count();
                }
            }
        }
    }
}
