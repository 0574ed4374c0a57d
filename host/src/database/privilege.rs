//! What a statement asks, told by PostgreSQL itself.
//!
//! Nobody declares what a plugin's SQL touches, and no regular expression guesses it. In a throw-away database built from
//! the plugin's migrations ([`super::scratch`]) each statement takes this way:
//!
//! 1. **Parsed alone** over the extended protocol, which refuses `select 1; drop table …` before anything else sees it.
//! 2. **Stored** as the body of a `begin atomic` function, in a transaction that is rolled back, and its tree read back.
//! 3. **Walked** ([`ask`]): each node kind, function, operator and type must be on an allow-list ([`allow`]); tables and
//!    columns are collected from the permissions the executor will check. What is unknown is refused by name.
//! 4. **Proved** ([`prove`]): which columns can be NULL, and that `many(n)` has a LIMIT of at most n.
//! 5. **Tried** ([`oracle`]): a login with exactly these grants must pass the executor's own check.
//!
//! ```text
//! select p.id, count(*) from ordering.purchase p join ordering.line l on l.purchase_id = p.id group by p.id limit 50
//!   asks  ordering.purchase: select id;  ordering.line: select purchase_id;  pg_catalog.count(), pg_catalog.uuid_eq(…)
//! ```

pub mod allow;
pub mod ask;
pub mod lexicon;
pub mod oracle;
pub mod prove;

use tokio_postgres::{
    error::SqlState,
    types::{Kind as Shape, Type},
};

use self::{ask::Place, lexicon::Lexicon};
use super::{
    catalog::Catalog,
    scratch::Scratch,
    statement::{Arity, Ask, Column, Kind, Param, Statement},
    tree::{Node, Value},
};
use crate::error::{Fault, Setup};

/// A statement as its author wrote it: nothing of it is believed yet.
#[derive(Clone, Debug)]
pub struct Draft {
    pub handle: String,
    pub name: String,
    pub purpose: String,
    /// With `$1…`.
    pub text: String,
    pub arity: Arity,
    pub params: Vec<DraftParam>,
}

/// A named parameter before PostgreSQL has given it a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftParam {
    pub name: String,
    pub nullable: bool,
}

impl From<&Statement> for Draft {
    fn from(statement: &Statement) -> Self {
        let params = statement.params.iter().map(|p| DraftParam { name: p.name.clone(), nullable: p.nullable });
        Self {
            handle: statement.handle.clone(),
            name: statement.name.clone(),
            purpose: statement.purpose.clone(),
            text: statement.text.clone(),
            arity: statement.arity,
            params: params.collect(),
        }
    }
}

/// Proves statements against one migrated scratch database.
#[derive(Debug)]
pub struct Prover<'a> {
    scratch: &'a Scratch,
    catalog: &'a Catalog,
    lexicon: Lexicon,
}

impl<'a> Prover<'a> {
    /// `catalog` is what the inspection of this scratch database found.
    pub async fn new(scratch: &'a Scratch, catalog: &'a Catalog) -> Setup<Self> {
        let lexicon = Lexicon::read(scratch.owner(), scratch.schema()).await?;
        Ok(Self { scratch, catalog, lexicon })
    }

    /// The whole way of a statement; a refusal names the statement, the reason and the fix.
    pub async fn prove(&self, draft: &Draft) -> Setup<Statement> {
        let place = format!("queries/{}/{}.sql", draft.handle, draft.name);
        let prepared = self.scratch.owner().prepare(&draft.text).await.map_err(|e| refuse_parse(&place, &e))?;
        if prepared.params().len() != draft.params.len() {
            return Err(Fault::new(&place, "PostgreSQL counts other parameters than the file names")
                .fix("write each parameter as `:name`, and no `$1`"));
        }
        let mut params = Vec::new();
        for (param, kind) in draft.params.iter().zip(prepared.params()) {
            params.push(self.param(&place, param, kind)?);
        }
        let kinds = self.sql_types(prepared.params()).await?;
        let query = self.tree(&place, &draft.text, &kinds).await?;
        let mut ask = ask::ask(&Value::Node(query.clone()), Place::Statement, &self.lexicon, &place)?;
        self.catalog.add_policies(&mut ask);
        let mut columns = Vec::new();
        for (column, nullable) in prepared.columns().iter().zip(prove::nullable(&query, &self.lexicon)) {
            columns.push(result_column(&place, column.name(), column.type_(), nullable, &columns)?);
        }
        ensure_arity(&place, draft.arity, &query, &columns, &self.lexicon)?;
        if !self.is_enough(&draft.text, &kinds, &ask).await.map_err(|fault| fault.within(&place))? {
            return Err(Fault::new(&place, "needs more than was found in its tree")
                .fix("simplify the statement, and report it: what PostgreSQL checks and what it stores disagree"));
        }
        Ok(Statement {
            handle: draft.handle.clone(),
            name: draft.name.clone(),
            purpose: draft.purpose.clone(),
            text: draft.text.clone(),
            arity: draft.arity,
            params,
            columns,
            ask,
        })
    }

    /// Asks the oracle about a proved statement with other grants.
    pub async fn suffices(&self, statement: &Statement, ask: &Ask) -> Setup<bool> {
        let prepared = self.scratch.owner().prepare(&statement.text).await.map_err(self.scratch.owner().fault())?;
        let kinds = self.sql_types(prepared.params()).await?;
        self.is_enough(&statement.text, &kinds, ask).await
    }

    async fn is_enough(&self, text: &str, kinds: &[String], ask: &Ask) -> Setup<bool> {
        oracle::is_enough(self.scratch, text, kinds, ask).await
    }

    fn param(&self, place: &str, param: &DraftParam, kind: &Type) -> Setup<Param> {
        let is_caller = param.name == "caller";
        let found =
            kind_of(kind).ok_or_else(|| refuse_kind(place, &format!("the parameter `:{}`", param.name), kind))?;
        if is_caller && (found != Kind::Uuid || param.nullable) {
            return Err(Fault::new(place, "`:caller` is the account's id, a uuid that is never NULL")
                .fix("compare it with a uuid column, and write it without `?`"));
        }
        Ok(Param { name: param.name.clone(), kind: found, nullable: param.nullable, is_caller })
    }

    /// The full names of types, as SQL text.
    async fn sql_types(&self, types: &[Type]) -> Setup<Vec<String>> {
        let oids: Vec<u32> = types.iter().map(Type::oid).collect();
        let sql = "select pg_catalog.format_type(t.oid, null)
            from pg_catalog.unnest($1::pg_catalog.oid[]) with ordinality t(oid, position) order by t.position";
        let owner = self.scratch.owner();
        let rows = owner.query(sql, &[&oids]).await.map_err(owner.fault())?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The query PostgreSQL stores for `text`. The parameters have no names: one could shadow a column, or be shadowed.
    async fn tree(&self, place: &str, text: &str, kinds: &[String]) -> Setup<Node> {
        let owner = self.scratch.owner();
        let create = format!(
            "create function dinehub.statement({}) returns void language sql begin atomic {text}\n; end",
            kinds.join(", ")
        );
        owner.run("begin").await?;
        let created = owner.execute(&create, &[]).await;
        let read = match created {
            Ok(_) => {
                let sql = "select prosqlbody::text from pg_catalog.pg_proc where oid = 'dinehub.statement'::regproc";
                owner.query_one(sql, &[]).await
            }
            Err(error) => Err(error),
        };
        owner.run("rollback").await?;
        let stored: String = read.map_err(|e| refuse_parse(place, &e))?.get(0);
        let tree = Value::read(&stored).map_err(Fault::at(place))?;
        let [Value::List(statements)] = tree.items() else { return Err(Fault::new(place, "is not one statement")) };
        match statements.as_slice() {
            [Value::Node(query)] if query.kind == "QUERY" => Ok(query.clone()),
            _ => Err(Fault::new(place, "is not one statement").fix("write exactly one statement a file")),
        }
    }
}

fn refuse_parse(place: &str, error: &tokio_postgres::Error) -> Fault {
    let said = error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
    let fault = Fault::new(place, format!("PostgreSQL refuses it: {said}"));
    if said.contains("multiple commands") {
        return fault.fix("write exactly one statement a file");
    }
    match error.code() {
        Some(&SqlState::FEATURE_NOT_SUPPORTED) => fault.fix("write select, insert, update or delete"),
        Some(&SqlState::UNDEFINED_TABLE) => fault.fix("write the schema too: `schema.table`"),
        _ => fault,
    }
}

fn refuse_kind(place: &str, what: &str, kind: &Type) -> Fault {
    Fault::new(place, format!("{what} has the type {}, which does not cross into WIT", kind.name())).fix(
        "cast it (`::int8`, `::text`) to one of bool, int2, int4, int8, float8, text, uuid, timestamptz, date, an enum, \
         or an array of one",
    )
}

/// The type that crosses the boundary for a PostgreSQL type, when there is one.
fn kind_of(kind: &Type) -> Option<Kind> {
    Some(match *kind {
        Type::BOOL => Kind::Bool,
        Type::INT2 => Kind::Int2,
        Type::INT4 => Kind::Int4,
        Type::INT8 => Kind::Int8,
        Type::FLOAT8 => Kind::Float8,
        Type::TEXT | Type::VARCHAR => Kind::Text,
        Type::UUID => Kind::Uuid,
        Type::TIMESTAMPTZ => Kind::Timestamp,
        Type::DATE => Kind::Date,
        _ => match kind.kind() {
            Shape::Enum(labels) => Kind::Enum { name: kind.name().to_owned(), labels: labels.clone() },
            Shape::Array(element) => Kind::List(Box::new(kind_of(element)?)),
            _ => return None,
        },
    })
}

fn result_column(place: &str, marked: &str, kind: &Type, nullable: bool, before: &[Column]) -> Setup<Column> {
    let (name, nullable) = match (marked.strip_suffix('!'), marked.strip_suffix('?')) {
        (Some(name), _) => (name, false),
        (_, Some(name)) => (name, true),
        _ => (marked, nullable),
    };
    if !is_name(name) {
        return Err(Fault::new(place, format!("the result column `{name}` has no name that WIT can say"))
            .fix("name it: `… as order_count` (lower case, words of letters and digits joined by single `_`)"));
    }
    if before.iter().any(|column| column.name == name) {
        return Err(Fault::new(place, format!("two result columns are called `{name}`")).fix("rename one with `as`"));
    }
    let found = kind_of(kind).ok_or_else(|| refuse_kind(place, &format!("the result column `{name}`"), kind))?;
    Ok(Column { name: name.to_owned(), kind: found, nullable })
}

/// Snake case that has a WIT form: each word starts with a letter.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    name.len() <= 63 && name.split('_').all(is_word)
}

fn ensure_arity(place: &str, arity: Arity, query: &Node, columns: &[Column], lexicon: &Lexicon) -> Setup<()> {
    match arity {
        Arity::Count if !columns.is_empty() => {
            Err(Fault::new(place, "returns `count` and has result columns").fix("drop `returning`, or return `one`"))
        }
        Arity::Count => Ok(()),
        _ if columns.is_empty() => {
            Err(Fault::new(place, "has no result columns").fix("add `returning …`, or write `-- returns: count`"))
        }
        Arity::Many { rows_max } => match prove::rows_max(query, lexicon) {
            Some(bound) if bound <= u64::from(rows_max) => Ok(()),
            Some(bound) => Err(Fault::new(place, format!("may give {bound} rows, and says many({rows_max})"))
                .fix(format!("write `limit {rows_max}`, or raise the number"))),
            None => Err(Fault::new(place, format!("says many({rows_max}), and nothing proves it")).fix(format!(
                "end it with `limit {rows_max}` or `limit least(:limit, {rows_max})`; a write goes first: \
                 `with written as (… returning …) select … from written limit {rows_max}`"
            ))),
        },
        Arity::One | Arity::Optional => Ok(()),
    }
}
