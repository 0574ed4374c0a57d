//! Which objects may be in a plugin's schema. Each rule is a query for what breaks it; the last ones catch whatever the
//! named rules forgot: everything the owner owns must be a table, an enum, or the sequence of an identity column.

use super::Stage;
use crate::{
    database::session::Session,
    error::{Fault, Setup},
};

/// What is wrong, what to do instead, and a query for the names of the offenders (`$1` is the schema).
struct Rule {
    what: &'static str,
    fix: &'static str,
    sql: &'static str,
}

/// The tables of the schema.
macro_rules! of_tables {
    ($condition:literal) => {
        concat!(
            "select c.relname::text from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where n.nspname = $1 and ",
            $condition
        )
    };
}

/// The constraints of the schema.
macro_rules! of_constraints {
    ($condition:literal) => {
        concat!(
            "select k.conrelid::pg_catalog.regclass::text || ': ' || k.conname::text
             from pg_catalog.pg_constraint k join pg_catalog.pg_namespace n on n.oid = k.connamespace
             where n.nspname = $1 and ",
            $condition
        )
    };
}

const RULES: &[Rule] = &[
    Rule {
        what: "is a domain, a composite type or a range type",
        fix: "use a plain type with a CHECK on the column, or an enum",
        sql: "select t.typname::text from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
                left join pg_catalog.pg_class c on c.oid = t.typrelid
              where n.nspname = $1 and not (t.typtype = 'e' or (t.typtype = 'c' and c.relkind <> 'c')
                or (t.typtype = 'b' and t.typcategory = 'A'))",
    },
    Rule {
        what: "is a function or procedure",
        fix: "do it in the plugin; the database holds data",
        sql: "select p.proname::text from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
              where n.nspname = $1",
    },
    Rule {
        what: "is a trigger",
        fix: "do it in the statement or in the plugin",
        sql: "select t.tgname::text from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
                join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and not t.tgisinternal",
    },
    Rule {
        what: "is a view or a materialized view",
        fix: "write the query in the statement: a view runs as its owner, past row level security",
        sql: of_tables!("c.relkind in ('v', 'm')"),
    },
    Rule {
        what: "is a rule",
        fix: "do it in the statement",
        sql: "select r.rulename::text from pg_catalog.pg_rewrite r join pg_catalog.pg_class c on c.oid = r.ev_class
                join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind <> 'v' and c.relkind <> 'm'",
    },
    Rule {
        what: "is a sequence of its own (`serial` makes one)",
        fix: "write `bigint generated always as identity`",
        sql: of_tables!(
            "c.relkind = 'S' and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
             and d.objid = c.oid and d.deptype = 'i')"
        ),
    },
    Rule {
        what: "is part of a partitioned or inherited table",
        fix: "make one plain table",
        sql: of_tables!(
            "(c.relkind in ('p', 'I') or exists (select from pg_catalog.pg_inherits i where c.oid in (i.inhrelid, i.inhparent)))"
        ),
    },
    Rule { what: "is a foreign table", fix: "make a plain table", sql: of_tables!("c.relkind = 'f'") },
    Rule {
        what: "is not durable (UNLOGGED or TEMPORARY)",
        fix: "make a plain table",
        sql: of_tables!("c.relpersistence <> 'p'"),
    },
    Rule {
        what: "has a name that is not plain snake case",
        fix: "rename it: lower case, words of letters and digits joined by single `_`",
        sql: "select c.relname || coalesce('.' || a.attname, '') from pg_catalog.pg_class c
                join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              where n.nspname = $1 and c.relkind = 'r' and (c.relname::text !~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$'
                or a.attname::text !~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$')",
    },
    Rule {
        what: "is a foreign key into another schema",
        fix: "keep the id without a foreign key, and ask the plugin that owns it",
        sql: of_constraints!(
            "k.contype = 'f' and (select f.relnamespace from pg_catalog.pg_class f where f.oid = k.confrelid) <> n.oid"
        ),
    },
    Rule {
        what: "is a deferrable constraint",
        fix: "leave out DEFERRABLE: an error must reach the statement that caused it",
        sql: of_constraints!("k.condeferrable"),
    },
    Rule {
        what: "is a policy for some roles only",
        fix: "leave out `to …`: all callers share the plugin's logins",
        sql: "select p.polname::text from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
                join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and p.polroles <> array[0]::pg_catalog.oid[]",
    },
    Rule {
        what: "is a cast",
        fix: "cast in the statement",
        sql: "select k.castsource::pg_catalog.regtype::text || ' as ' || k.casttarget::pg_catalog.regtype::text
              from pg_catalog.pg_cast k where exists (select from pg_catalog.pg_type t
                join pg_catalog.pg_namespace n on n.oid = t.typnamespace
                where n.nspname = $1 and t.oid in (k.castsource, k.casttarget))",
    },
    Rule {
        what: "is a setting of the role",
        fix: "leave out `alter role … set`",
        sql: "select pg_catalog.unnest(s.setconfig) from pg_catalog.pg_db_role_setting s
                join pg_catalog.pg_namespace n on n.nspowner = s.setrole where n.nspname = $1",
    },
    Rule {
        what: "is a default privilege",
        fix: "leave out `alter default privileges`: the host grants",
        sql: "select d.defaclobjtype::text from pg_catalog.pg_default_acl d
                join pg_catalog.pg_namespace n on n.nspowner = d.defaclrole where n.nspname = $1",
    },
    Rule {
        what: "is neither table, index, enum, constraint nor policy of the own schema",
        fix: "leave it out",
        sql: "select pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid)
              from pg_catalog.pg_shdepend s join pg_catalog.pg_namespace n on n.nspowner = s.refobjid
              where n.nspname = $1 and s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and s.deptype = 'o'
                and s.dbid in (0, (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()))
                and not (s.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass and s.objid = n.oid)
                and not (s.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and exists (
                  select from pg_catalog.pg_class c where c.oid = s.objid and c.relnamespace = n.oid))
                and not (s.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and exists (
                  select from pg_catalog.pg_type t where t.oid = s.objid and t.typnamespace = n.oid))",
    },
];

/// What every table needs when the last migration has run.
const PROTECTION: &[Rule] = &[
    Rule {
        what: "has no row level security, or the owner is exempt from it",
        fix: "alter table … enable row level security; alter table … force row level security;",
        sql: of_tables!("c.relkind = 'r' and not (c.relrowsecurity and c.relforcerowsecurity)"),
    },
    Rule {
        what: "has no policy",
        fix: "create policy … using (account_id = (select platform.caller_id()));",
        sql: of_tables!("c.relkind = 'r' and not exists (select from pg_catalog.pg_policy p where p.polrelid = c.oid)"),
    },
];

/// Applies every rule; the first one broken refuses, naming the object.
pub(super) async fn ensure_allowed(session: &Session, schema: &str, stage: Stage) -> Setup<()> {
    for rule in rules(stage) {
        if let Some(fault) = broken(session, schema, rule).await?.into_iter().next() {
            return Err(fault);
        }
    }
    Ok(())
}

/// Whatever breaks a rule, each as the fault that it is.
pub(super) async fn offenders(session: &Session, schema: &str, stage: Stage) -> Setup<Vec<Fault>> {
    let mut offenders = Vec::new();
    for rule in rules(stage) {
        offenders.extend(broken(session, schema, rule).await?);
    }
    Ok(offenders)
}

fn rules(stage: Stage) -> impl Iterator<Item = &'static Rule> {
    let protection = if stage == Stage::Whole { PROTECTION } else { &[] };
    RULES.iter().chain(protection)
}

async fn broken(session: &Session, schema: &str, rule: &Rule) -> Setup<Vec<Fault>> {
    let offenders = session.query(rule.sql, &[&schema]).await.map_err(session.fault())?;
    let fault = |name: &str| Fault::new(format!("schema {schema}: {name}"), rule.what).fix(rule.fix);
    Ok(offenders.iter().map(|row| fault(row.get(0))).collect())
}
