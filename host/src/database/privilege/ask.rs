//! From a tree to the [`Ask`]: every table with its columns, every function; and the refusal of all that is not allowed.
//!
//! The walk sees every node of the tree. It skips one list: `exclRelTlist` of ON CONFLICT names all columns of the table
//! whether they are used or not (what is used of `excluded` stands in that entry's own permissions).

mod table;

use std::collections::BTreeSet;

use super::{
    allow::{self, Field},
    lexicon::Lexicon,
    prove,
};
use crate::{
    database::{
        statement::Ask,
        tree::{Node, Value},
    },
    error::{Fault, Setup},
};

/// `SubLinkType`.
const EXPRESSION_LINK: i64 = 4;
const ARRAY_LINK: i64 = 6;
/// The most elements `array(select …)` may collect.
const ARRAY_ROWS_MAX: u64 = 100;

/// Where an expression stands, and so what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A plugin's statement.
    Statement,
    /// A policy: `platform.*` only in the form `(select platform.caller_id())`, which PostgreSQL runs once a query.
    Policy,
    /// DEFAULT, CHECK, GENERATED or an index: no table, no identity.
    Schema,
}

/// Reads what `tree` asks. `name` is what a refusal points at: a file or an object.
pub fn ask(tree: &Value, place: Place, lexicon: &Lexicon, name: &str) -> Setup<Ask> {
    let mut walk = Walk { lexicon, place, name, ask: Ask::default(), any_select: BTreeSet::new(), is_once: false };
    walk.value(tree)?;
    walk.choose_columns()?;
    Ok(walk.ask)
}

struct Walk<'a> {
    lexicon: &'a Lexicon,
    place: Place,
    name: &'a str,
    ask: Ask,
    /// Tables of which rows are read but no column is named: `count(*)`.
    any_select: BTreeSet<u32>,
    /// Inside `(select platform.caller_id())`.
    is_once: bool,
}

impl Walk<'_> {
    fn refuse(&self, what: impl Into<String>, fix: impl Into<String>) -> Fault {
        Fault::new(self.name, what).fix(fix)
    }

    fn value(&mut self, value: &Value) -> Setup<()> {
        match value {
            Value::Node(node) => self.node(node),
            Value::List(items) => items.iter().try_for_each(|item| self.value(item)),
            _ => Ok(()),
        }
    }

    fn node(&mut self, node: &Node) -> Setup<()> {
        let Some(fields) = allow::node(&node.kind) else { return Err(self.refuse_node(&node.kind)) };
        match node.kind.as_str() {
            "QUERY" => self.query(node)?,
            "RANGETBLENTRY" => self.range(node)?,
            "VAR" => self.variable(node)?,
            "SQLVALUEFUNCTION" => self.value_function(node)?,
            "SUBLINK" => self.array(node)?,
            _ => {}
        }
        for (label, field) in fields {
            self.field(*field, node.get(label))?;
        }
        let outside = self.is_once;
        self.is_once |= node.kind == "SUBLINK" && self.is_caller_select(node);
        for (label, value) in &node.fields {
            if label != "exclRelTlist" {
                self.value(value)?;
            }
        }
        self.is_once = outside;
        Ok(())
    }

    fn refuse_node(&self, kind: &str) -> Fault {
        match allow::REFUSED_NODES.iter().find(|(name, ..)| *name == kind) {
            Some((_, what, fix)) => self.refuse(format!("uses {what}"), *fix),
            None => self.refuse(
                format!("uses `{kind}`, which is not on the list of allowed constructs"),
                "write it with plain select, insert, update, delete, joins and expressions",
            ),
        }
    }

    fn field(&mut self, field: Field, value: &Value) -> Setup<()> {
        let single = value.number();
        let numbers = || value.numbers().iter().copied().chain(single);
        let oids: Vec<u32> = numbers().filter_map(|n| u32::try_from(n).ok()).filter(|oid| *oid != 0).collect();
        match field {
            Field::Absent(what, fix) => {
                let is_absent = match value {
                    Value::Nothing => true,
                    Value::Atom(word) => word == "0" || word == "false",
                    Value::List(items) => items.is_empty(),
                    _ => false,
                };
                if is_absent { Ok(()) } else { Err(self.refuse(format!("uses {what}"), fix)) }
            }
            Field::Function => oids.iter().try_for_each(|oid| self.function(*oid)),
            Field::Operator => oids.iter().try_for_each(|oid| self.operator(*oid)),
            Field::Type => oids.iter().try_for_each(|oid| self.kind(*oid)),
            Field::TypeRead => oids.iter().try_for_each(|oid| {
                self.kind(*oid)?;
                let input = self.lexicon.kind(*oid).and_then(|kind| self.lexicon.function(kind.input));
                self.ask.functions.extend(input.map(|function| function.full()));
                Ok(())
            }),
        }
    }

    fn function(&mut self, oid: u32) -> Setup<()> {
        let lexicon = self.lexicon;
        let Some(function) = lexicon.function(oid) else {
            return Err(self.refuse(format!("uses a function with the unknown oid {oid}"), "use a listed function"));
        };
        let full = function.full();
        let is_allowed = match function.schema.as_str() {
            "pg_catalog" => allow::is_function(&function.name, &function.signature()),
            "platform" if !allow::PLATFORM_FUNCTIONS.contains(&function.name.as_str()) => false,
            "platform" => match self.place {
                Place::Statement => true,
                Place::Policy if self.is_once => true,
                Place::Policy => {
                    return Err(self.refuse(
                        format!("calls {full} for each row"),
                        format!(
                            "write `(select {}.{}(…))`: PostgreSQL runs it once a query",
                            function.schema, function.name
                        ),
                    ));
                }
                Place::Schema => false,
            },
            _ => false,
        };
        if !is_allowed {
            return Err(self.refuse(
                format!("uses the function {full}, which is not on the list of allowed functions"),
                "use a listed function (host/src/database/privilege/allow.rs), or do it in the plugin",
            ));
        }
        self.ask.functions.insert(full);
        Ok(())
    }

    fn operator(&mut self, oid: u32) -> Setup<()> {
        let lexicon = self.lexicon;
        let found = lexicon.operator(oid).and_then(|o| lexicon.function(o.function).map(|f| (o, f)));
        match found {
            Some((operator, function))
                if operator.schema == "pg_catalog"
                    && function.schema == "pg_catalog"
                    && allow::OPERATORS.contains(&operator.name.as_str()) =>
            {
                self.ask.functions.insert(function.full());
                Ok(())
            }
            found => {
                let named = found.map_or_else(|| oid.to_string(), |(o, f)| format!("{} ({})", o.name, f.full()));
                Err(self.refuse(
                    format!("uses the operator {named}, which is not on the list of allowed operators"),
                    "use a listed operator (host/src/database/privilege/allow.rs), or do it in the plugin",
                ))
            }
        }
    }

    fn kind(&self, oid: u32) -> Setup<()> {
        ensure_kind(oid, self.lexicon).map_err(|named| {
            self.refuse(
                format!("handles a value of type {named}, which is not on the list of allowed types"),
                format!("use one of {}, an array of one, or an enum of the own schema", allow::TYPES.join(", ")),
            )
        })
    }

    fn query(&self, node: &Node) -> Setup<()> {
        match node.number("commandType") {
            Some(1..=4) => Ok(()),
            Some(5) => Err(self.refuse("uses MERGE", "write `insert … on conflict`")),
            _ => Err(self.refuse("is a command", "write select, insert, update or delete")),
        }
    }

    fn variable(&self, node: &Node) -> Setup<()> {
        match node.number("varattno") {
            Some(1..) => Ok(()),
            Some(0) => Err(self.refuse("uses a whole row as a value", "name the columns")),
            _ => Err(self.refuse("uses a system column", "name a column of the table")),
        }
    }

    fn value_function(&self, node: &Node) -> Setup<()> {
        match node.number("op") {
            Some(op) if op <= allow::VALUE_FUNCTION_MAX => Ok(()),
            _ => Err(self.refuse(
                "asks for the login, role, catalog or schema (current_user and its kin)",
                "ask `platform.caller_id()`: every caller shares the plugin's login",
            )),
        }
    }

    /// `array(select …)` puts many rows into one value.
    fn array(&self, link: &Node) -> Setup<()> {
        if link.number("subLinkType") != Some(ARRAY_LINK) {
            return Ok(());
        }
        let rows_max = link.get("subselect").node().and_then(|query| prove::rows_max(query, self.lexicon));
        match rows_max {
            Some(rows_max) if rows_max <= ARRAY_ROWS_MAX => Ok(()),
            _ => Err(self.refuse(
                "collects rows into an array, and nothing proves how many",
                format!("write `array(select … limit {ARRAY_ROWS_MAX})`, or less"),
            )),
        }
    }

    /// `(select platform.caller_has('ADMIN'))`: an expression sublink over nothing but the call with constants.
    fn is_caller_select(&self, link: &Node) -> bool {
        let query = link.get("subselect").kind("QUERY");
        let expression =
            query.filter(|q| link.number("subLinkType") == Some(EXPRESSION_LINK) && *q.get("rtable") == Value::Nothing);
        let expression =
            expression.filter(|q| q.get("targetList").items().len() == 1 && *q.get("cteList") == Value::Nothing);
        let target = expression.and_then(|q| q.get("targetList").items().first()?.kind("TARGETENTRY"));
        let Some(call) = target.and_then(|t| t.get("expr").kind("FUNCEXPR")) else { return false };
        let function = call.oid("funcid").and_then(|oid| self.lexicon.function(oid));
        let Some(function) = function.filter(|f| f.schema == "platform") else { return false };
        let is_plain = call.get("args").items().iter().all(|arg| arg.kind("CONST").is_some());
        is_plain && allow::PLATFORM_FUNCTIONS.contains(&function.name.as_str())
    }
}

/// Whether a type may be handled; the error is its name.
pub fn ensure_kind(oid: u32, lexicon: &Lexicon) -> Result<(), String> {
    let Some(kind) = lexicon.kind(oid) else { return Err(format!("(unknown oid {oid})")) };
    let is_allowed = match kind.element {
        0 => {
            (kind.schema == "pg_catalog" && allow::TYPES.contains(&kind.name.as_str()))
                || (kind.schema == lexicon.schema && kind.class == 'e')
        }
        element => return ensure_kind(element, lexicon).map_err(|_| format!("{}.{}", kind.schema, kind.name)),
    };
    if is_allowed { Ok(()) } else { Err(format!("{}.{}", kind.schema, kind.name)) }
}
