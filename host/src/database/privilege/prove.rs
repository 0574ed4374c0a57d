//! What follows from a tree besides the ask: which result columns can be NULL, and how many rows there can be.

use std::collections::BTreeSet;

use super::lexicon::Lexicon;
use crate::database::tree::{Node, Value};

/// `JoinType`.
const LEFT: i64 = 1;
const FULL: i64 = 2;
const RIGHT: i64 = 3;
/// `MinMaxOp`.
const LEAST: i64 = 1;

/// The visible result columns: of a select its list, of a write its RETURNING.
#[must_use]
pub fn output(query: &Node) -> Vec<&Node> {
    let list = if query.number("commandType") == Some(1) { "targetList" } else { "returningList" };
    let entries = query.get(list).items().iter().filter_map(|entry| entry.kind("TARGETENTRY"));
    entries.filter(|entry| !entry.is("resjunk")).collect()
}

/// For each result column whether it can be NULL. Only a plain NOT NULL column of a table that no outer join can leave
/// empty is known not to be; everything else is said to be nullable, unless its author marks it `"x!"`.
#[must_use]
pub fn nullable(query: &Node, lexicon: &Lexicon) -> Vec<bool> {
    let mut missing = BTreeSet::new();
    query.get("jointree").visit(&mut |node| {
        if node.kind == "JOINEXPR" {
            let sides: &[&str] = match node.number("jointype") {
                Some(LEFT) => &["rarg"],
                Some(FULL) => &["larg", "rarg"],
                Some(RIGHT) => &["larg"],
                _ => &[],
            };
            sides.iter().for_each(|side| ranges(node.get(side), &mut missing));
        }
    });
    output(query).into_iter().map(|entry| !is_not_null(entry.get("expr"), query, lexicon, &missing)).collect()
}

/// The numbers of the FROM entries below a join's side.
fn ranges(side: &Value, into: &mut BTreeSet<i64>) {
    side.visit(&mut |node| {
        if node.kind == "RANGETBLREF" || node.kind == "JOINEXPR" {
            into.extend(node.number("rtindex"));
        }
    });
}

fn is_not_null(expression: &Value, query: &Node, lexicon: &Lexicon, missing: &BTreeSet<i64>) -> bool {
    let find = || {
        let variable = expression.kind("VAR").filter(|v| v.number("varlevelsup") == Some(0))?;
        let range = variable.number("varno").filter(|number| !missing.contains(number))?;
        let entry = query.get("rtable").items().get(usize::try_from(range.checked_sub(1)?).ok()?)?.node()?;
        let relation = lexicon.relation(entry.oid("relid").filter(|_| entry.number("rtekind") == Some(0))?)?;
        relation.columns.get(&i16::try_from(variable.number("varattno")?).ok()?)
    };
    find().is_some_and(|column| column.is_not_null)
}

/// The most rows a select can give, when its LIMIT proves it: a constant, or `least(…)` with one.
#[must_use]
pub fn rows_max(query: &Node, lexicon: &Lexicon) -> Option<u64> {
    if query.number("commandType") != Some(1) {
        return None;
    }
    bound(query.get("limitCount"), lexicon)
}

fn bound(expression: &Value, lexicon: &Lexicon) -> Option<u64> {
    let node = expression.node()?;
    match node.kind.as_str() {
        "CONST" => u64::try_from(integer(node)?).ok(),
        "FUNCEXPR" => {
            let cast = lexicon.function(node.oid("funcid")?)?;
            let is_widening = matches!(cast.full().as_str(), "pg_catalog.int8(integer)" | "pg_catalog.int8(smallint)");
            bound(node.get("args").items().first().filter(|_| is_widening)?, lexicon)
        }
        // `least` passes over NULL, so one constant is enough whatever the others are.
        "MINMAXEXPR" if node.number("op") == Some(LEAST) => {
            node.get("args").items().iter().filter_map(|arg| bound(arg, lexicon)).min()
        }
        _ => None,
    }
}

/// A non-NULL integer constant; of a little-endian server, as every supported one is.
#[must_use]
pub fn integer(constant: &Node) -> Option<i64> {
    let Value::Bytes(bytes) = constant.get("constvalue") else { return None };
    let bytes: [u8; 8] = bytes.as_slice().try_into().ok()?;
    let wide = i64::from_le_bytes(bytes);
    match constant.oid("consttype")? {
        20 => Some(wide),
        23 => i32::try_from(wide).ok().map(i64::from),
        21 => i16::try_from(wide).ok().map(i64::from),
        _ => None,
    }
}
