//! Values on their way: JSON to WIT by any shape and back, parameters, and rows of PostgreSQL to WIT and back.

use std::sync::{Arc, OnceLock};

use arbitrary::{Arbitrary, Result, Unstructured};
use dinehub::{
    capability::data,
    database::{
        statement::Kind,
        value::{Datum, List},
    },
    plugin::{
        cursor::{Scope, Sealer},
        json::{self, Json},
        shape::{Format, Member, Named, Shape, Width},
        value::{Boundary, Reader, Val, write},
    },
};

fn sealer() -> &'static Sealer {
    static SEALER: OnceLock<Sealer> = OnceLock::new();
    SEALER.get_or_init(|| Sealer::new(&[7; 32]).expect("a key"))
}

fn boundary() -> Boundary<'static> {
    Boundary { sealer: Some(sealer()), scope: Scope { plugin: "fuzz", function: "draw", caller: None } }
}

fn members<T>(
    data: &mut Unstructured<'_>,
    mut of: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<Member<T>>> {
    let count = data.int_in_range(1..=4)?;
    let member = |at| Ok(Member { wit: format!("field-{at}"), json: format!("field_{at}"), of: of(data)? });
    (0..count).map(member).collect()
}

/// Any shape that the boundary can have.
fn shape(data: &mut Unstructured<'_>, depth: u32) -> Result<Shape> {
    const WIDTHS: [(Width, i64, i64); 8] = [
        (Width::S8, -128, 127),
        (Width::U8, 0, 255),
        (Width::S16, -32_768, 32_767),
        (Width::U16, 0, 65_535),
        (Width::S32, -2_147_483_648, 2_147_483_647),
        (Width::U32, 0, 4_294_967_295),
        (Width::S64, -9_007_199_254_740_991, 9_007_199_254_740_991),
        (Width::U64, 0, 9_007_199_254_740_991),
    ];
    let formats = [Format::Plain, Format::Uuid, Format::Email, Format::Timestamp, Format::Date, Format::Cursor];
    Ok(match data.int_in_range(0..=if depth == 0 { 6 } else { 11 })? {
        0 => Shape::Bool,
        1 => {
            let (width, min, max) = *data.choose(&WIDTHS)?;
            Shape::Integer { width, min, max, money: bool::arbitrary(data)? }
        }
        2 => Shape::Float { single: bool::arbitrary(data)? },
        3 => Shape::Char,
        4 => Shape::Text { format: *data.choose(&formats)?, length_min: 0, length_max: data.int_in_range(0..=100)? },
        5 => Shape::Enum(named_of(members(data, |_| Ok(()))?)),
        6 => Shape::Flags(named_of(members(data, |_| Ok(()))?)),
        7 => {
            Shape::List { item: Arc::new(shape(data, depth - 1)?), items_min: 0, items_max: data.int_in_range(0..=20)? }
        }
        8 => match shape(data, depth - 1)? {
            nested @ Shape::Option(_) => nested,
            inner => Shape::Option(Arc::new(inner)),
        },
        9 => {
            let count = data.int_in_range(1..=3)?;
            Shape::Tuple((0..count).map(|_| shape(data, depth - 1)).collect::<Result<Vec<_>>>()?.into())
        }
        10 => Shape::Record(named_of(members(data, |data| shape(data, depth - 1))?)),
        _ => Shape::Variant(named_of(members(data, |data| {
            if bool::arbitrary(data)? { Ok(Some(shape(data, depth - 1)?)) } else { Ok(None) }
        })?)),
    })
}

fn named_of<T>(members: Vec<Member<T>>) -> Arc<Named<T>> {
    Arc::new(Named { name: "thing".to_owned(), members })
}

fn read(shape: &Shape, json: &Json<'_>) -> Option<Val> {
    let boundary = boundary();
    let mut reader = Reader::new(&boundary);
    let value = reader.body(shape, json);
    let violations = reader.into_violations();
    assert_eq!(value.is_some(), violations.is_empty(), "a value or what is wrong with it: {violations:?}");
    assert!(violations.iter().all(|one| one.pointer.is_empty() || one.pointer.starts_with('/')), "{violations:?}");
    value
}

/// Whether the shape has a place for a cursor, which is sealed anew each time.
fn has_cursor(shape: &Shape) -> bool {
    format!("{shape:?}").contains("Cursor")
}

pub(crate) fn json(bytes: &[u8]) {
    let mut data = Unstructured::new(bytes);
    let Ok(shape) = shape(&mut data, 3) else { return };
    let Ok(document) = json::read(data.take_rest()) else { return };
    let Some(value) = read(&shape, &document) else { return };
    back(&shape, &value);
}

fn back(shape: &Shape, value: &Val) {
    let mut out = Vec::new();
    write::write(&boundary(), shape, value, &mut out).expect("what was read can be written");
    let document = json::read(&out).unwrap_or_else(|error| panic!("{}: {error:?}", String::from_utf8_lossy(&out)));
    if has_cursor(shape) {
        return;
    }
    let again = read(shape, &document).unwrap_or_else(|| panic!("{} is refused", String::from_utf8_lossy(&out)));
    let mut twice = Vec::new();
    write::write(&boundary(), shape, &again, &mut twice).expect("what was read can be written");
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&twice));
}

pub(crate) fn parameter(bytes: &[u8]) {
    let mut data = Unstructured::new(bytes);
    let Ok(shape) = shape(&mut data, 1) else { return };
    let Ok(text) = std::str::from_utf8(data.take_rest()) else { return };
    let boundary = boundary();
    let mut reader = Reader::new(&boundary);
    let value = reader.parameter(&shape, "?q", Some(text));
    let violations = reader.into_violations();
    assert_eq!(value.is_some(), violations.is_empty());
    if let Some(value) = value {
        back(&shape, &value);
    }
}

fn kind(data: &mut Unstructured<'_>) -> Result<Kind> {
    let labels = || vec!["placed".to_owned(), "in_progress".to_owned()];
    Ok(match data.int_in_range(0..=10)? {
        0 => Kind::Bool,
        1 => Kind::Int2,
        2 => Kind::Int4,
        3 => Kind::Int8,
        4 => Kind::Float8,
        5 => Kind::Text,
        6 => Kind::Uuid,
        7 => Kind::Timestamp,
        8 => Kind::Date,
        9 => Kind::Enum { name: "state".to_owned(), labels: labels() },
        _ => match kind(data)? {
            nested @ Kind::List(_) => nested,
            element => Kind::List(Box::new(element)),
        },
    })
}

/// A cell as PostgreSQL could send it, to WIT, and that value as an argument again.
pub(crate) fn row(bytes: &[u8]) {
    let mut data = Unstructured::new(bytes);
    let Ok(kind) = kind(&mut data) else { return };
    let Ok(cell) = Datum::read(&kind, Some(data.take_rest())) else { return };
    let Ok(value) = data::value(&kind, cell) else { return };
    match (&kind, &value) {
        (Kind::List(element), Val::List(items)) => {
            let given: Option<Vec<Datum<'_>>> = items.iter().map(|item| data::datum(element, item)).collect();
            // An enum's case that no label stands for is no argument.
            if let (Some(given), Datum::List(list)) = (given, cell) {
                let given: Vec<String> = List::Given(&given).iter().map(|one| format!("{one:?}")).collect();
                assert_eq!(given, list.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>());
            }
        }
        _ => {
            if let Some(given) = data::datum(&kind, &value) {
                assert_eq!(format!("{given:?}"), format!("{cell:?}"));
            }
        }
    }
}
