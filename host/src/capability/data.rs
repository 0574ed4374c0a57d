//! The data handle: one imported function per pinned statement. The handle *is* the import; there is no `open`, no name
//! and no text that could reach another table.
//!
//! ```text
//! purchases.find(id: uuid) -> result<option<find-row>, error>      one function
//!   └─ queries/purchases/find.sql, parsed and priced at bind       one statement
//! ```

use std::sync::Arc;

use uuid::Uuid;
use wasmtime::component::{Linker, Val};

use super::{
    gate::Function,
    grants::{Grants, Stopped},
    limit,
};
use crate::{
    audit::event::What,
    database::{
        guest::{Failure, Rows},
        statement::{Arity, Kind, Statement},
        timestamp,
        value::{Datum, List},
    },
    error::{Fault, Setup},
    id::Denial,
};

/// Links the functions of `interface`, one per statement.
pub fn link<'s>(
    linker: &mut Linker<Grants>,
    interface: &str,
    statements: impl Iterator<Item = &'s Statement>,
) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(interface, format!("{error:#}"));
    let mut instance = linker.instance(interface).map_err(fault)?;
    let interface: Arc<str> = interface.into();
    for statement in statements {
        let statement = Arc::new(statement.clone());
        let name = statement.name.replace('_', "-");
        let bound = Arc::new(Bound::new(Arc::clone(&statement)));
        let function = Function { interface: Arc::clone(&interface), name, statement: Some(statement) };
        function.link(&mut instance, move |grants, arguments| {
            let bound = Arc::clone(&bound);
            Box::pin(async move { execute(grants, &bound, arguments).await.map(Some) })
        })?;
    }
    Ok(())
}

/// A statement with what is needed at each call worked out once.
struct Bound {
    statement: Arc<Statement>,
    /// Column names as WIT fields.
    fields: Vec<String>,
}

impl Bound {
    fn new(statement: Arc<Statement>) -> Self {
        let fields = statement.columns.iter().map(|column| column.name.replace('_', "-")).collect();
        Self { statement, fields }
    }
}

async fn execute(grants: &mut Grants, bound: &Bound, arguments: &[Val]) -> Result<Val, Stopped> {
    let lists = lists(&bound.statement, arguments);
    let params = match parameters(&bound.statement, arguments, &lists, grants) {
        Ok(params) => params,
        Err(why) => return Ok(error("invalid", Some(why))),
    };
    let executed = grants.transaction().execute(&bound.statement, &params).await;
    let used = grants.transaction().used();
    if !grants.meter_mut().database(used) {
        return Err(grants.stop_at_bound());
    }
    match executed {
        Ok(rows) => {
            if !grants.meter_mut().rows(rows.len()) {
                return Err(grants.stop_at_bound());
            }
            match answer(bound, &rows) {
                Ok(value) => Ok(value),
                // The statement was proved not to do this; whoever marked a column `!` was wrong.
                Err(log) => {
                    let log = format!("statement {}.{}: {log}", bound.statement.handle, bound.statement.name);
                    Err(grants.stop_at_fault(log))
                }
            }
        }
        Err(failure) => Ok(refuse(grants, bound, failure)),
    }
}

/// What the guest is told; what the log is told besides.
fn refuse(grants: &mut Grants, bound: &Bound, failure: Failure) -> Val {
    let (handle, statement) = (&bound.statement.handle, &bound.statement.name);
    match failure {
        Failure::Conflict(constraint) => error("conflict", Some(constraint)),
        Failure::Invalid(constraint) => error("invalid", Some(constraint)),
        Failure::Denied(why) => {
            let denial = Denial::statement(grants.plugin().as_str(), handle, statement);
            tracing::warn!(target: "database", plugin = %grants.plugin(), %handle, %statement, %denial, %why, "denied");
            let import = format!("statement {handle}.{statement}").into();
            grants.deny();
            grants.record(|artefact| What::Ungranted { artefact, import, denial: Some(denial) });
            error("denied", None)
        }
        Failure::Timeout => error("timeout", None),
        Failure::TooManyRows => {
            grants.limited(limit::Bound::RowBytes);
            error("too-many-rows", None)
        }
        Failure::Aborted => error("aborted", None),
        Failure::Retry => {
            grants.note_retry();
            error("aborted", None)
        }
        Failure::Unavailable(why) => {
            grants.note_unserved();
            tracing::error!(target: "database", plugin = %grants.plugin(), %handle, %statement, %why, "unavailable");
            error("unavailable", None)
        }
    }
}

fn error(case: &str, payload: Option<String>) -> Val {
    let payload = payload.map(|text| Box::new(Val::String(text)));
    Val::Result(Err(Some(Box::new(Val::Variant(case.to_owned(), payload)))))
}

fn ok(value: Val) -> Val {
    Val::Result(Ok(Some(Box::new(value))))
}

/// List arguments as data of their own, which parameters then borrow; empty for every other argument.
fn lists<'v>(statement: &'v Statement, arguments: &'v [Val]) -> Vec<Vec<Datum<'v>>> {
    let kinds = statement.params.iter().filter(|param| !param.is_caller).map(|param| &param.kind);
    kinds
        .zip(arguments)
        .map(|(kind, argument)| match (kind, present(argument)) {
            (Kind::List(element), Some(Val::List(items))) => {
                items.iter().map(|item| datum(element, item).unwrap_or(Datum::Null)).collect()
            }
            _ => Vec::new(),
        })
        .collect()
}

/// The statement's parameters in the order of `$1…`; `Err` names the one whose text is no value of its type.
fn parameters<'v>(
    statement: &'v Statement,
    arguments: &'v [Val],
    lists: &'v [Vec<Datum<'v>>],
    grants: &Grants,
) -> Result<Vec<Datum<'v>>, String> {
    let mut given = arguments.iter().zip(lists);
    let mut params = Vec::with_capacity(statement.params.len());
    for param in &statement.params {
        if param.is_caller {
            params.push(Datum::Uuid(grants.caller_id()));
            continue;
        }
        let value = match given.next() {
            None => None,
            Some((argument, list)) => match (&param.kind, present(argument)) {
                (_, None) => Some(Datum::Null),
                (Kind::List(_), Some(_)) if list.contains(&Datum::Null) => None,
                (Kind::List(_), Some(_)) => Some(Datum::List(List::Given(list))),
                (kind, Some(argument)) => datum(kind, argument),
            },
        };
        params.push(value.ok_or_else(|| param.name.clone())?);
    }
    Ok(params)
}

/// The value of an option that has one; any other value is itself.
fn present(value: &Val) -> Option<&Val> {
    match value {
        Val::Option(None) => None,
        Val::Option(Some(value)) => Some(value),
        value => Some(value),
    }
}

/// A guest's value as a parameter; none when it is no value of that kind.
#[must_use]
pub fn datum<'v>(kind: &'v Kind, value: &'v Val) -> Option<Datum<'v>> {
    Some(match (kind, value) {
        (Kind::Bool, Val::Bool(value)) => Datum::Bool(*value),
        (Kind::Int2, Val::S16(value)) => Datum::Int((*value).into()),
        (Kind::Int4, Val::S32(value)) => Datum::Int((*value).into()),
        (Kind::Int8, Val::S64(value)) => Datum::Int(*value),
        (Kind::Float8, Val::Float64(value)) => Datum::Float(*value),
        (Kind::Text, Val::String(text)) => Datum::Text(text),
        (Kind::Uuid, Val::String(text)) => Datum::Uuid(text.parse().ok()?),
        (Kind::Timestamp, Val::String(text)) => Datum::Timestamp(timestamp::parse(text)?),
        (Kind::Date, Val::String(text)) => Datum::Date(timestamp::parse_date(text)?),
        (Kind::Enum { labels, .. }, Val::Enum(case)) => {
            Datum::Text(labels.iter().find(|label| is_same_name(label, case))?)
        }
        _ => return None,
    })
}

/// `in_progress` in PostgreSQL is `in-progress` in WIT.
fn is_same_name(label: &str, case: &str) -> bool {
    label.len() == case.len() && label.bytes().zip(case.bytes()).all(|(l, c)| l == c || (l == b'_' && c == b'-'))
}

fn answer(bound: &Bound, rows: &Rows) -> Result<Val, String> {
    let row = |at: usize| row(bound, rows, at);
    Ok(match bound.statement.arity {
        Arity::Count => ok(Val::U32(u32::try_from(rows.affected()).unwrap_or(u32::MAX))),
        Arity::One if rows.is_empty() => error("missing", None),
        Arity::One => ok(row(0)?),
        Arity::Optional if rows.is_empty() => ok(Val::Option(None)),
        Arity::Optional => ok(Val::Option(Some(Box::new(row(0)?)))),
        Arity::Many { .. } => ok(Val::List((0..rows.len()).map(row).collect::<Result<_, _>>()?)),
    })
}

fn row(bound: &Bound, rows: &Rows, at: usize) -> Result<Val, String> {
    let mut fields = Vec::with_capacity(bound.fields.len());
    for (place, (field, column)) in bound.fields.iter().zip(&bound.statement.columns).enumerate() {
        let cell = rows.cell(at, place, &column.kind).map_err(|error| format!("column `{}`: {error}", column.name))?;
        let value = match (column.nullable, cell) {
            (true, Datum::Null) => Val::Option(None),
            (false, Datum::Null) => return Err(format!("column `{}` is NULL", column.name)),
            (true, cell) => Val::Option(Some(Box::new(value(&column.kind, cell)?))),
            (false, cell) => value(&column.kind, cell)?,
        };
        fields.push((field.clone(), value));
    }
    Ok(Val::Record(fields))
}

/// A cell as a guest's value; the error is a sentence for the log.
pub fn value(kind: &Kind, cell: Datum<'_>) -> Result<Val, String> {
    let misfit = |_| "a number that does not fit its column".to_owned();
    Ok(match (kind, cell) {
        (Kind::Bool, Datum::Bool(value)) => Val::Bool(value),
        (Kind::Int2, Datum::Int(value)) => Val::S16(value.try_into().map_err(misfit)?),
        (Kind::Int4, Datum::Int(value)) => Val::S32(value.try_into().map_err(misfit)?),
        (Kind::Int8, Datum::Int(value)) => Val::S64(value),
        (Kind::Float8, Datum::Float(value)) => Val::Float64(value),
        (Kind::Text, Datum::Text(text)) => Val::String(text.to_owned()),
        (Kind::Enum { .. }, Datum::Text(label)) => Val::Enum(label.replace('_', "-")),
        (Kind::Uuid, Datum::Uuid(id)) => {
            Val::String(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned())
        }
        (Kind::Timestamp, Datum::Timestamp(micros)) => {
            Val::String(timestamp::format(micros).ok_or("a time outside the years 1 to 9999")?.as_str().to_owned())
        }
        (Kind::Date, Datum::Date(day)) => {
            Val::String(timestamp::format_date(day).ok_or("a date outside the years 1 to 9999")?.as_str().to_owned())
        }
        (Kind::List(element), Datum::List(items)) => {
            let items =
                items.iter().map(|item| item.map_err(|error| error.to_string()).and_then(|item| value(element, item)));
            Val::List(items.collect::<Result<_, _>>()?)
        }
        _ => return Err("a value of another type than its column".to_owned()),
    })
}
