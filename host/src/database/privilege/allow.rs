//! What a plugin's SQL may be made of, as data: node kinds, functions, operators, types.
//!
//! These are allow-lists. PostgreSQL has three thousand functions, of which some read files, sleep, run text as SQL or
//! fill the memory; a list of those would always be one short. What is missing here is refused by name, and adding a
//! line is a decision of a reviewer. Left out on purpose, though harmless at first sight:
//!
//! * `repeat lpad rpad replace generate_series array_fill string_agg array_agg`: unbounded memory from a small input;
//! * `~ regexp_* similar to`: a pattern can take exponential time;
//! * `json*`, `xml*`: no such type crosses the boundary, and `query_to_xml` runs its argument as SQL;
//! * `current_user` and its kin: who is asking is told by `platform.caller_*`, not by the login.

/// What a field of a node holds, and so how it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The oid of a function; 0 is none.
    Function,
    /// The oid of an operator, or several; 0 is none.
    Operator,
    /// The oid of a type, or several.
    Type,
    /// The oid of a type whose input function runs.
    TypeRead,
    /// Must be empty, false or zero; else the construct of this name was used, and the second text says what to do.
    Absent(&'static str, &'static str),
}

use Field::{Absent, Function, Operator, Type, TypeRead};

const NO_LOCK: Field = Absent("a row lock (FOR UPDATE, FOR SHARE)", "write with `update … returning`, which locks");
const NO_RECURSION: Field = Absent("WITH RECURSIVE", "join a fixed number of times");

/// Each node kind a tree may hold, with the fields that name something or must be empty. `QUERY`, `RANGETBLENTRY`,
/// `VAR`, `SQLVALUEFUNCTION` have rules of their own besides, in `ask`.
pub const NODES: &[(&str, &[(&str, Field)])] = &[
    ("AGGREF", &[("aggfnoid", Function), ("aggtype", Type)]),
    ("ALIAS", &[]),
    ("ARRAYCOERCEEXPR", &[("resulttype", Type)]),
    ("ARRAYEXPR", &[("array_typeid", Type), ("element_typeid", Type)]),
    ("BOOLEANTEST", &[]),
    ("BOOLEXPR", &[]),
    ("CASEEXPR", &[("casetype", Type)]),
    ("CASETESTEXPR", &[("typeId", Type)]),
    ("CASEWHEN", &[]),
    ("COALESCEEXPR", &[("coalescetype", Type)]),
    ("COERCEVIAIO", &[("resulttype", TypeRead)]),
    (
        "COMMONTABLEEXPR",
        &[
            ("cterecursive", NO_RECURSION),
            ("search_clause", NO_RECURSION),
            ("cycle_clause", NO_RECURSION),
            ("ctecoltypes", Type),
        ],
    ),
    ("CONST", &[("consttype", Type)]),
    ("DISTINCTEXPR", &[("opno", Operator), ("opresulttype", Type)]),
    ("FROMEXPR", &[]),
    ("FUNCEXPR", &[("funcid", Function), ("funcresulttype", Type)]),
    ("INFERENCEELEM", &[("inferopclass", Absent("an operator class in ON CONFLICT", "leave it out"))]),
    ("JOINEXPR", &[]),
    ("MINMAXEXPR", &[("minmaxtype", Type)]),
    ("NAMEDARGEXPR", &[]),
    ("NULLIFEXPR", &[("opno", Operator), ("opresulttype", Type)]),
    ("NULLTEST", &[]),
    ("ONCONFLICTEXPR", &[]),
    ("OPEXPR", &[("opno", Operator), ("opresulttype", Type)]),
    ("PARAM", &[("paramtype", Type)]),
    (
        "QUERY",
        &[
            ("utilityStmt", Absent("a command", "write select, insert, update or delete")),
            ("hasRecursive", NO_RECURSION),
            ("hasForUpdate", NO_LOCK),
            ("rowMarks", NO_LOCK),
            ("groupingSets", Absent("GROUPING SETS, ROLLUP or CUBE", "group by plain columns")),
            ("override", Absent("OVERRIDING SYSTEM VALUE", "leave the identity column to PostgreSQL")),
            ("mergeActionList", Absent("MERGE", "write `insert … on conflict`")),
            ("withCheckOptions", Absent("a view's check option", "name the table")),
            ("limitOption", Absent("FETCH … WITH TIES", "write `limit`: ties have no bound")),
        ],
    ),
    ("RANGETBLENTRY", &[("tablesample", Absent("TABLESAMPLE", "select with `where` and `limit`"))]),
    ("RANGETBLFUNCTION", &[]),
    ("RANGETBLREF", &[]),
    ("RELABELTYPE", &[("resulttype", Type)]),
    ("ROWCOMPAREEXPR", &[("opnos", Operator)]),
    ("SCALARARRAYOPEXPR", &[("opno", Operator)]),
    ("SETOPERATIONSTMT", &[("colTypes", Type)]),
    ("SETTODEFAULT", &[("typeId", Type)]),
    ("SORTGROUPCLAUSE", &[("eqop", Operator), ("sortop", Operator)]),
    ("SQLVALUEFUNCTION", &[("type", Type)]),
    ("SUBLINK", &[]),
    ("SUBSCRIPTINGREF", &[("refcontainertype", Type), ("refrestype", Type)]),
    ("TARGETENTRY", &[]),
    ("VAR", &[("vartype", Type)]),
    ("WINDOWCLAUSE", &[("startInRangeFunc", Function), ("endInRangeFunc", Function)]),
    ("WINDOWFUNC", &[("winfnoid", Function), ("wintype", Type)]),
];

/// What a refused node kind is called by people who write SQL, and what to write instead.
pub const REFUSED_NODES: &[(&str, &str, &str)] = &[
    ("COLLATEEXPR", "COLLATE", "give the column its collation in the migration"),
    ("CURRENTOFEXPR", "WHERE CURRENT OF", "name the row by its key"),
    ("GROUPINGFUNC", "GROUPING", "group by plain columns"),
    ("MERGEACTION", "MERGE", "write `insert … on conflict`"),
    ("NEXTVALUEEXPR", "a sequence", "use an identity column and `returning`"),
    ("ROWEXPR", "ROW(…) as a value", "select the columns one by one"),
    ("TABLEFUNC", "XMLTABLE", "store the values in columns"),
    ("TABLESAMPLECLAUSE", "TABLESAMPLE", "select with `where` and `limit`"),
    ("XMLEXPR", "XML", "store the values in columns"),
];

/// Base types of `pg_catalog` that a plugin's SQL may handle; arrays of them and the plugin's own enums besides.
#[rustfmt::skip]
pub const TYPES: &[&str] = &[
    "bool", "bytea", "date", "float8", "int2", "int4", "int8", "interval", "numeric", "text", "time", "timestamp",
    "timestamptz", "uuid", "varchar",
];

/// Operators of `pg_catalog`, for any allowed type.
#[rustfmt::skip]
pub const OPERATORS: &[&str] = &[
    "=", "<>", "<", "<=", ">", ">=", // comparison
    "+", "-", "*", "/", "%", "@", // arithmetic; `^` can build a number of a hundred thousand digits
    "||", "~~", "!~~", "~~*", "!~~*", "^@", // concat, like, not like, ilike, not ilike, starts with
    "@>", "<@", "&&", // arrays
];

/// Functions of `pg_catalog`, for any allowed argument type. A parenthesis pins one signature.
#[rustfmt::skip]
pub const FUNCTIONS: &[&str] = &[
    // text
    "btrim", "ltrim", "rtrim", "lower", "upper", "char_length", "character_length", "length", "octet_length",
    "left", "right", "position", "strpos", "starts_with", "split_part", "like_escape", "concat", "concat_ws",
    "substr", "substring(text, integer)", "substring(text, integer, integer)", "initcap",
    "textlike", "textnlike",
    // numbers
    "abs", "ceil", "ceiling", "floor", "round", "sign", "trunc", "mod", "div",
    // time; `now()` is the transaction's start, `clock_timestamp()` would be a stop-watch
    "now", "transaction_timestamp", "statement_timestamp", "timezone", "date_part", "extract", "date_trunc", "age",
    "make_date", "make_interval", "make_time", "make_timestamptz", "isfinite", "overlaps",
    "to_timestamp(double precision)",
    // arrays
    "cardinality", "array_length", "array_position", "array_remove", "array_append", "array_prepend", "array_cat",
    "array_to_string", "unnest(anyarray)",
    // ids
    "gen_random_uuid",
    // casts
    "bool", "int2", "int4", "int8", "float8", "numeric", "text", "varchar", "date", "time", "timestamp",
    "timestamptz", "interval",
    // aggregates
    "count", "min", "max", "sum", "avg", "bool_and", "bool_or", "every",
    // windows
    "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
    "last_value", "nth_value", "in_range",
];

/// The identity, as a plugin's SQL and policies may ask for it.
pub const PLATFORM_FUNCTIONS: &[&str] = &["caller_id", "caller_kind", "caller_has"];

/// `SQLValueFunctionOp`: dates and times of the transaction, 0–8. From 9 on it is users, roles, catalogs, schemas.
pub const VALUE_FUNCTION_MAX: i64 = 8;

/// What is allowed of a node kind.
#[must_use]
pub fn node(kind: &str) -> Option<&'static [(&'static str, Field)]> {
    NODES.iter().find(|(name, _)| *name == kind).map(|(_, fields)| *fields)
}

/// Whether a function of `pg_catalog` may be used.
#[must_use]
pub fn is_function(name: &str, signature: &str) -> bool {
    FUNCTIONS.iter().any(|allowed| if allowed.contains('(') { *allowed == signature } else { *allowed == name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_hurt_is_on_no_list() {
        #[rustfmt::skip]
        let hurtful = [
            "set_config", "current_setting", "pg_sleep", "query_to_xml", "lo_get", "lo_import", "pg_notify",
            "pg_advisory_lock", "pg_advisory_xact_lock", "repeat", "lpad", "rpad", "generate_series", "nextval",
            "currval", "pg_read_file", "dblink", "regexp_replace", "clock_timestamp", "ts_stat", "array_fill",
            "pg_terminate_backend", "has_table_privilege", "version", "to_regclass", "power", "factorial",
        ];
        for name in hurtful {
            assert!(!is_function(name, &format!("{name}(text)")), "{name}");
        }
        assert!(!is_function("substring", "substring(text, text)"), "takes a regular expression");
        assert!(is_function("substring", "substring(text, integer)"));
    }

    #[test]
    fn lists_are_sorted_and_without_doubles() {
        assert!(NODES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(TYPES.is_sorted_by(|a, b| a < b));
        let mut functions = FUNCTIONS.to_vec();
        functions.sort_unstable();
        functions.dedup();
        assert_eq!(functions.len(), FUNCTIONS.len());
    }
}
