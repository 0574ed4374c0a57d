//! What the numbers in a tree mean: functions, operators, types and tables by oid, read once per database.

use std::collections::{BTreeMap, HashMap};

use crate::{database::session::Session, error::Setup};

/// A function by its full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub schema: String,
    pub name: String,
    /// Its argument types, as `text, integer`.
    pub arguments: String,
}

impl Function {
    /// `pg_catalog.lower(text)`.
    #[must_use]
    pub fn full(&self) -> String {
        format!("{}.{}", self.schema, self.signature())
    }

    /// `lower(text)`.
    #[must_use]
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.arguments)
    }
}

/// An operator and the function that does its work.
#[derive(Clone, Debug)]
pub struct Operator {
    pub schema: String,
    pub name: String,
    pub function: u32,
}

/// A type.
#[derive(Clone, Debug)]
pub struct Type {
    pub schema: String,
    pub name: String,
    /// `pg_type.typtype`: `b`ase, `e`num, `c`omposite, `d`omain, `p`seudo, `r`ange.
    pub class: char,
    /// Of an array: its element's oid; else 0.
    pub element: u32,
    /// The function that reads its text form.
    pub input: u32,
}

/// A table (or what claims to be one) with its live columns by number.
#[derive(Clone, Debug)]
pub struct Relation {
    pub schema: String,
    pub name: String,
    /// `pg_class.relkind`.
    pub class: char,
    pub columns: BTreeMap<i16, Column>,
}

impl Relation {
    /// `ordering.purchase`.
    #[must_use]
    pub fn full(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// A column of a [`Relation`].
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub is_not_null: bool,
}

/// The names of one database, and the schema that is a plugin's own there.
#[derive(Clone, Debug)]
pub struct Lexicon {
    pub schema: String,
    functions: HashMap<u32, Function>,
    operators: HashMap<u32, Operator>,
    types: HashMap<u32, Type>,
    relations: HashMap<u32, Relation>,
}

const FUNCTIONS: &str = "select p.oid, n.nspname::text, p.proname::text, pg_catalog.oidvectortypes(p.proargtypes)
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace";
const OPERATORS: &str = "select o.oid, n.nspname::text, o.oprname::text, o.oprcode::oid
    from pg_catalog.pg_operator o join pg_catalog.pg_namespace n on n.oid = o.oprnamespace";
const TYPES: &str = "select t.oid, n.nspname::text, t.typname::text, t.typtype::text,
      case when t.typcategory = 'A' then t.typelem else 0::oid end, t.typinput::oid
    from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace";
const RELATIONS: &str = "select c.oid, n.nspname::text, c.relname::text, c.relkind::text
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace";
const COLUMNS: &str = "select a.attrelid, a.attnum, a.attname::text, a.attnotnull
    from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and a.attnum > 0 and not a.attisdropped";

impl Lexicon {
    /// Reads the catalogs; `schema` is the plugin's.
    pub async fn read(session: &Session, schema: &str) -> Setup<Self> {
        let ask = async |sql: &str| session.query(sql, &[]).await.map_err(session.fault());
        let class = |text: String| text.chars().next().unwrap_or('?');
        let mut functions = HashMap::new();
        for row in ask(FUNCTIONS).await? {
            functions.insert(row.get(0), Function { schema: row.get(1), name: row.get(2), arguments: row.get(3) });
        }
        let mut operators = HashMap::new();
        for row in ask(OPERATORS).await? {
            operators.insert(row.get(0), Operator { schema: row.get(1), name: row.get(2), function: row.get(3) });
        }
        let mut types = HashMap::new();
        for row in ask(TYPES).await? {
            let class = class(row.get(3));
            let kind = Type { schema: row.get(1), name: row.get(2), class, element: row.get(4), input: row.get(5) };
            types.insert(row.get(0), kind);
        }
        let mut relations = HashMap::new();
        for row in ask(RELATIONS).await? {
            let class = class(row.get(3));
            let relation = Relation { schema: row.get(1), name: row.get(2), class, columns: BTreeMap::new() };
            relations.insert(row.get::<_, u32>(0), relation);
        }
        for row in session.query(COLUMNS, &[&schema]).await.map_err(session.fault())? {
            if let Some(relation) = relations.get_mut(&row.get::<_, u32>(0)) {
                relation.columns.insert(row.get(1), Column { name: row.get(2), is_not_null: row.get(3) });
            }
        }
        Ok(Self { schema: schema.to_owned(), functions, operators, types, relations })
    }

    #[must_use]
    pub fn function(&self, oid: u32) -> Option<&Function> {
        self.functions.get(&oid)
    }

    #[must_use]
    pub fn operator(&self, oid: u32) -> Option<&Operator> {
        self.operators.get(&oid)
    }

    #[must_use]
    pub fn kind(&self, oid: u32) -> Option<&Type> {
        self.types.get(&oid)
    }

    #[must_use]
    pub fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(&oid)
    }
}
