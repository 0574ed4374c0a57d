//! The WIT of a plugin's handles: one interface a folder of `queries/`, one function a statement.
//!
//! The file is generated, committed and never edited, so its order and layout are fixed: the same statements give the
//! same bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    database::statement::{Arity, Column, Kind, Statement},
    error::{Fault, Setup},
    id::PluginId,
};

/// Words of WIT that need a `%` before them when they are names.
const KEYWORDS: &[&str] = &[
    "as",
    "async",
    "bool",
    "borrow",
    "char",
    "constructor",
    "enum",
    "error-context",
    "export",
    "f32",
    "f64",
    "flags",
    "from",
    "func",
    "future",
    "import",
    "include",
    "interface",
    "list",
    "map",
    "option",
    "own",
    "package",
    "record",
    "resource",
    "result",
    "s16",
    "s32",
    "s64",
    "s8",
    "static",
    "stream",
    "string",
    "tuple",
    "type",
    "u16",
    "u32",
    "u64",
    "u8",
    "use",
    "variant",
    "with",
    "world",
];

/// `find_mine` → `find-mine`.
#[must_use]
pub fn kebab(name: &str) -> String {
    name.replace('_', "-")
}

/// A name as WIT wants it, escaped when it is a word of the language.
fn id(name: &str) -> String {
    let name = kebab(name);
    if KEYWORDS.contains(&name.as_str()) { format!("%{name}") } else { name }
}

/// The whole of `data.wit`; empty when there is no statement.
pub fn write(plugin: &PluginId, statements: &[Statement]) -> Setup<String> {
    if statements.is_empty() {
        return Ok(String::new());
    }
    let enums = enums(statements)?;
    let mut out = String::from("// Made by `dinehub plugin bind` from queries/ and migrations/; do not edit.\n");
    out.push_str(&format!("package dinehub:{}-data;\n", kebab(plugin.as_str())));
    if !enums.is_empty() {
        out.push_str("\ninterface types {\n");
        for (name, labels) in &enums {
            let labels: Vec<String> = labels.iter().map(|label| id(label)).collect();
            out.push_str(&format!("  enum {} {{ {} }}\n", id(name), labels.join(", ")));
        }
        out.push_str("}\n");
    }
    let mut handles: BTreeMap<&str, Vec<&Statement>> = BTreeMap::new();
    for statement in statements {
        handles.entry(&statement.handle).or_default().push(statement);
    }
    for (handle, statements) in handles {
        if handle == "types" {
            return Err(Fault::new("queries/types", "`types` is the interface of the enums").fix("rename the folder"));
        }
        interface(&mut out, handle, &statements)?;
    }
    Ok(out)
}

/// The enums that statements name, with their labels.
fn enums(statements: &[Statement]) -> Setup<BTreeMap<&str, &[String]>> {
    let mut enums = BTreeMap::new();
    for statement in statements {
        for kind in kinds(statement) {
            if let Kind::Enum { name, labels } = element(kind) {
                let bad = std::iter::once(name).chain(labels).find(|word| !crate::database::privilege::is_name(word));
                if let Some(bad) = bad {
                    return Err(Fault::new(format!("enum {name}"), format!("`{bad}` has no WIT form"))
                        .fix("lower case, words that start with a letter, joined by single `_`"));
                }
                enums.insert(name.as_str(), labels.as_slice());
            }
        }
    }
    Ok(enums)
}

fn kinds(statement: &Statement) -> impl Iterator<Item = &Kind> {
    let params = statement.params.iter().filter(|param| !param.is_caller).map(|param| &param.kind);
    params.chain(statement.columns.iter().map(|column| &column.kind))
}

fn element(kind: &Kind) -> &Kind {
    match kind {
        Kind::List(inner) => element(inner),
        kind => kind,
    }
}

fn interface(out: &mut String, handle: &str, statements: &[&Statement]) -> Setup<()> {
    let mut platform = BTreeSet::new();
    let mut own = BTreeSet::new();
    for kind in statements.iter().flat_map(|statement| kinds(statement)) {
        match element(kind) {
            Kind::Uuid => platform.insert("uuid"),
            Kind::Timestamp => platform.insert("timestamp"),
            Kind::Date => platform.insert("date"),
            Kind::Enum { name, .. } => own.insert(id(name)),
            _ => false,
        };
    }
    ensure_distinct(handle, statements, &platform, &own)?;
    out.push_str(&format!("\ninterface {} {{\n", id(handle)));
    if !platform.is_empty() {
        let names: Vec<&str> = platform.into_iter().collect();
        out.push_str(&format!("  use dinehub:platform/types@1.0.0.{{{}}};\n", names.join(", ")));
    }
    out.push_str("  use dinehub:platform/database@1.0.0.{error};\n");
    if !own.is_empty() {
        out.push_str(&format!("  use types.{{{}}};\n", own.into_iter().collect::<Vec<_>>().join(", ")));
    }
    for statement in statements {
        function(out, statement);
    }
    out.push_str("}\n");
    Ok(())
}

/// Functions and types share one name space in an interface.
fn ensure_distinct(
    handle: &str,
    statements: &[&Statement],
    platform: &BTreeSet<&str>,
    own: &BTreeSet<String>,
) -> Setup<()> {
    let mut taken: BTreeSet<String> =
        platform.iter().map(|name| (*name).to_owned()).chain(own.iter().cloned()).collect();
    taken.insert("error".to_owned());
    for statement in statements {
        let row = (!statement.columns.is_empty()).then(|| row_name(statement));
        for name in std::iter::once(id(&statement.name)).chain(row) {
            if !taken.insert(name.clone()) {
                return Err(Fault::new(
                    format!("queries/{handle}/{}.sql", statement.name),
                    format!("the interface has two things called `{name}`"),
                )
                .fix("rename the statement"));
            }
        }
    }
    Ok(())
}

fn row_name(statement: &Statement) -> String {
    format!("{}-row", kebab(&statement.name))
}

fn function(out: &mut String, statement: &Statement) {
    if !statement.columns.is_empty() {
        let field = |column: &Column| format!("{}: {}", id(&column.name), optional(&column.kind, column.nullable));
        let fields: Vec<String> = statement.columns.iter().map(field).collect();
        out.push_str(&format!("\n  record {} {{ {} }}\n", row_name(statement), fields.join(", ")));
    } else {
        out.push('\n');
    }
    let params: Vec<String> = statement
        .params
        .iter()
        .filter(|param| !param.is_caller)
        .map(|param| format!("{}: {}", id(&param.name), optional(&param.kind, param.nullable)))
        .collect();
    let row = row_name(statement);
    let result = match statement.arity {
        Arity::One => row,
        Arity::Optional => format!("option<{row}>"),
        Arity::Many { .. } => format!("list<{row}>"),
        Arity::Count => "u32".to_owned(),
    };
    out.push_str(&format!("  /// {}\n", statement.purpose));
    out.push_str(&format!("  {}: func({}) -> result<{result}, error>;\n", id(&statement.name), params.join(", ")));
}

fn optional(kind: &Kind, nullable: bool) -> String {
    if nullable { format!("option<{}>", type_name(kind)) } else { type_name(kind) }
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".to_owned(),
        Kind::Int2 => "s16".to_owned(),
        Kind::Int4 => "s32".to_owned(),
        Kind::Int8 => "s64".to_owned(),
        Kind::Float8 => "f64".to_owned(),
        Kind::Text => "string".to_owned(),
        Kind::Uuid => "uuid".to_owned(),
        Kind::Timestamp => "timestamp".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::Enum { name, .. } => id(name),
        Kind::List(inner) => format!("list<{}>", type_name(inner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::statement::{Ask, Param};

    fn statement(name: &str, arity: Arity, params: Vec<Param>, columns: Vec<Column>) -> Statement {
        Statement {
            handle: "orders".into(),
            name: name.into(),
            purpose: "Do it.".into(),
            text: String::new(),
            arity,
            params,
            columns,
            ask: Ask::default(),
        }
    }

    fn state() -> Kind {
        Kind::Enum { name: "order_state".into(), labels: vec!["placed".into(), "result".into()] }
    }

    #[test]
    fn statements_become_functions_and_keywords_are_escaped() {
        let caller = Param { name: "caller".into(), kind: Kind::Uuid, nullable: false, is_caller: true };
        let from =
            Param { name: "from".into(), kind: Kind::List(Box::new(Kind::Text)), nullable: true, is_caller: false };
        let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
        let columns = vec![column("id", Kind::Uuid, false), column("type", state(), true)];
        let all = [
            statement("list", Arity::Many { rows_max: 9 }, vec![caller.clone(), from], columns),
            statement("cancel_mine", Arity::Count, vec![caller], vec![]),
        ];
        let wit = write(&"ordering".parse().unwrap(), &all).unwrap();
        assert_eq!(
            wit,
            "// Made by `dinehub plugin bind` from queries/ and migrations/; do not edit.\n\
             package dinehub:ordering-data;\n\n\
             interface types {\n  enum order-state { placed, %result }\n}\n\n\
             interface orders {\n  use dinehub:platform/types@1.0.0.{uuid};\n  use dinehub:platform/database@1.0.0.{error};\n  \
             use types.{order-state};\n\n  record list-row { id: uuid, %type: option<order-state> }\n  /// Do it.\n  \
             %list: func(%from: option<list<string>>) -> result<list<list-row>, error>;\n\n  /// Do it.\n  \
             cancel-mine: func() -> result<u32, error>;\n}\n"
        );
    }

    #[test]
    fn two_things_of_one_name_are_refused() {
        let clash = statement("error", Arity::Count, vec![], vec![]);
        assert!(write(&"ordering".parse().unwrap(), &[clash]).unwrap_err().to_string().contains("`error`"));
    }
}
