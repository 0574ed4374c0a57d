-- The two functions behind every statement of identity, with plans that a session keeps.
--
-- In PostgreSQL 15 a function in SQL that cannot be inlined (these cannot: they set search_path) is read from the catalog,
-- rewritten and planned again in each query that calls it. That was most of what a short request cost the database. The
-- same queries in PL/pgSQL are planned once a session. Owner, grants, callers and results stay as they were.

create or replace function platform.is_host(token text) returns boolean
language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select pg_catalog.count(*) operator(pg_catalog.=) 1
    from platform.connection c
    where c.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()
      and c.token_sha256 operator(pg_catalog.=) pg_catalog.sha256(pg_catalog.convert_to(token, 'UTF8')));
end $$;

create or replace function platform.mac(kind text, caller text, roles text) returns text
language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select pg_catalog.encode(pg_catalog.sha256(p.a operator(pg_catalog.||) pg_catalog.sha256(p.b operator(pg_catalog.||)
      pg_catalog.convert_to(
        kind operator(pg_catalog.||) '|' operator(pg_catalog.||) caller operator(pg_catalog.||) '|'
        operator(pg_catalog.||) roles operator(pg_catalog.||) '|'
        operator(pg_catalog.||) pg_catalog.pg_backend_pid()::pg_catalog.text operator(pg_catalog.||) '|'
        operator(pg_catalog.||) pg_catalog.extract('epoch', pg_catalog.now())::pg_catalog.text, 'UTF8'))), 'hex')
    from platform.proof p);
end $$;
