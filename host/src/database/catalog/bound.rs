//! No column may hold a value of any size: one fat row, read a thousand at a time, would fill the host's memory.
//!
//! `varchar(n)` and `numeric(p)` are bounded by their type; `text`, `bytea` and arrays need a CHECK that PostgreSQL
//! stores as `char_length(x) <= 500`, `octet_length(x) < …`, `cardinality(x) <= 20`, or a `between`. An array needs
//! bounded elements besides (`varchar(40)[]`, or a CHECK on `char_length(array_to_string(x, ''))`).

use crate::{
    database::{
        privilege::{ask::ensure_kind, lexicon::Lexicon, prove::integer},
        session::Session,
        tree::{Node, Value},
    },
    error::{Fault, Setup},
};

/// A CHECK with a higher limit is none: characters, bytes or elements.
const SIZE_MAX: i64 = 65_536;

const COLUMNS: &str = "select c.oid, c.relname::text, a.attname::text, a.attnum, a.atttypid, a.atttypmod
    from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped";
const CHECKS: &str = "select k.conrelid, k.conbin::text
    from pg_catalog.pg_constraint k join pg_catalog.pg_namespace n on n.oid = k.connamespace
    where n.nspname = $1 and k.contype = 'c' and k.convalidated";

/// What a CHECK limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// The length of a text or of bytes.
    Length,
    /// The number of elements.
    Count,
    /// The length of all elements together.
    Joined,
}

/// Refuses a column of a type that is not listed, or of unbounded size.
pub(super) async fn ensure_bounded(session: &Session, lexicon: &Lexicon) -> Setup<()> {
    let ask = async |sql: &str| session.query(sql, &[&lexicon.schema]).await.map_err(session.fault());
    let mut limits = Vec::new();
    for row in ask(CHECKS).await? {
        let table: u32 = row.get(0);
        let tree = Value::read(row.get(1)).map_err(Fault::at(&lexicon.schema))?;
        for (column, measure) in limits_of(&tree, lexicon) {
            limits.push((table, column, measure));
        }
    }
    for row in ask(COLUMNS).await? {
        let (table, number): (u32, i16) = (row.get(0), row.get(3));
        let has = |measure| limits.contains(&(table, i64::from(number), measure));
        let place = format!("schema {}: {}.{}", lexicon.schema, row.get::<_, &str>(1), row.get::<_, &str>(2));
        ensure_column(&place, row.get(4), row.get::<_, i32>(5) != -1, has, lexicon)?;
    }
    Ok(())
}

fn ensure_column(
    place: &str,
    kind: u32,
    is_sized: bool,
    has: impl Fn(Measure) -> bool,
    lexicon: &Lexicon,
) -> Setup<()> {
    ensure_kind(kind, lexicon).map_err(|named| {
        Fault::new(place, format!("has the type {named}, which is not on the list of allowed types"))
    })?;
    let Some(found) = lexicon.kind(kind) else { return Ok(()) };
    let column = place.rsplit('.').next().unwrap_or(place);
    let element = lexicon.kind(found.element);
    let is_bounded = is_sized || !grows(element.map_or(found.name.as_str(), |e| e.name.as_str()));
    if element.is_none() {
        if is_bounded || has(Measure::Length) {
            return Ok(());
        }
        return Err(Fault::new(place, "can hold a value of any size")
            .fix(format!("check (char_length({column}) <= 500), octet_length for bytea, or `varchar(500)`")));
    }
    if !has(Measure::Count) {
        return Err(
            Fault::new(place, "can hold any number of elements").fix(format!("check (cardinality({column}) <= 20)"))
        );
    }
    if is_bounded || has(Measure::Joined) {
        return Ok(());
    }
    Err(Fault::new(place, "can hold elements of any size")
        .fix(format!("make it `varchar(40)[]`, or check (char_length(array_to_string({column}, '')) <= 800)")))
}

/// Whether a value of this type can be of any size.
fn grows(name: &str) -> bool {
    matches!(name, "text" | "varchar" | "bytea" | "numeric")
}

/// What a CHECK proves: of each part of an AND, and of an OR whose other parts are `column is null` (a CHECK that is
/// NULL passes, and a NULL column is small).
fn limits_of(tree: &Value, lexicon: &Lexicon) -> Vec<(i64, Measure)> {
    let Some(node) = tree.node() else { return Vec::new() };
    let operands = node.get("args").items();
    match (node.kind.as_str(), node.get("boolop")) {
        ("BOOLEXPR", Value::Atom(word)) if word == "and" => {
            operands.iter().flat_map(|o| limits_of(o, lexicon)).collect()
        }
        ("BOOLEXPR", Value::Atom(word)) if word == "or" => {
            let (nulls, others): (Vec<&Value>, Vec<&Value>) =
                operands.iter().partition(|o| o.kind("NULLTEST").is_some_and(|t| t.number("nulltesttype") == Some(0)));
            let tested: Vec<i64> = nulls.iter().filter_map(|n| column(n.node()?.get("arg"))).collect();
            let [only] = others.as_slice() else { return Vec::new() };
            let mut limits = limits_of(only, lexicon);
            limits.retain(|(column, _)| tested.len() == nulls.len() && tested.iter().all(|t| t == column));
            limits
        }
        ("OPEXPR", _) => comparison(node, lexicon).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// `char_length(x) <= 500`, either way around.
fn comparison(node: &Node, lexicon: &Lexicon) -> Option<(i64, Measure)> {
    let operator = lexicon.operator(node.oid("opno")?)?;
    let [left, right] = node.get("args").items() else { return None };
    let (measured, limit) = match operator.name.as_str() {
        "<" | "<=" | "=" => (left, right),
        ">" | ">=" => (right, left),
        _ => return None,
    };
    integer(limit.kind("CONST")?).filter(|limit| *limit <= SIZE_MAX)?;
    let call = measured.kind("FUNCEXPR")?;
    let inner = call.get("args").items().first()?;
    let name = |call: &Node| {
        lexicon.function(call.oid("funcid")?).filter(|f| f.schema == "pg_catalog").map(|f| f.name.clone())
    };
    match name(call)?.as_str() {
        "cardinality" => Some((column(inner)?, Measure::Count)),
        "char_length" | "character_length" | "length" | "octet_length" => match inner.kind("FUNCEXPR") {
            Some(join) if name(join)? == "array_to_string" => {
                Some((column(join.get("args").items().first()?)?, Measure::Joined))
            }
            _ => Some((column(inner)?, Measure::Length)),
        },
        _ => None,
    }
}

/// The column's number, also below a relabelled type (`varchar` as `text`).
fn column(value: &Value) -> Option<i64> {
    match value.kind("RELABELTYPE") {
        Some(relabel) => column(relabel.get("arg")),
        None => value.kind("VAR")?.number("varattno"),
    }
}
