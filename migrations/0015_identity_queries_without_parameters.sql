-- The same statement of identity, at a third of its price: no query inside it has a parameter.
--
-- PL/pgSQL plans a query once a session, unless its parameters make a plan for these values look cheaper than the kept one
-- (PostgreSQL 15 §43.11.2). With the hashing inside the query it always did, so each call planned it again, and that was two
-- thirds of what `assume` and `caller_id` cost. Now a query only fetches the row, and the hash is computed outside, in an
-- expression. What is checked, in which order, and what is raised are as they were; so are owner and grants.

create or replace function platform.is_host(token text) returns boolean
language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
declare
  known pg_catalog.bytea;
begin
  select c.token_sha256 into known from platform.connection c
  where c.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid();
  return (known operator(pg_catalog.=) pg_catalog.sha256(pg_catalog.convert_to(token, 'UTF8'))) is true;
end $$;

create or replace function platform.mac(kind text, caller text, roles text) returns text
language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
declare
  proof pg_catalog.record;
begin
  select p.a, p.b into proof from platform.proof p;
  return pg_catalog.encode(pg_catalog.sha256(proof.a operator(pg_catalog.||) pg_catalog.sha256(
    proof.b operator(pg_catalog.||) pg_catalog.convert_to(
      kind operator(pg_catalog.||) '|' operator(pg_catalog.||) caller operator(pg_catalog.||) '|'
      operator(pg_catalog.||) roles operator(pg_catalog.||) '|'
      operator(pg_catalog.||) pg_catalog.pg_backend_pid()::pg_catalog.text operator(pg_catalog.||) '|'
      operator(pg_catalog.||) pg_catalog.extract('epoch', pg_catalog.now())::pg_catalog.text, 'UTF8'))), 'hex');
end $$;

create or replace function platform.assume(kind text, caller uuid, roles text, token text, timeout_ms int) returns void
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  nobody constant pg_catalog.uuid := '00000000-0000-0000-0000-000000000000';
  host constant pg_catalog.uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  known pg_catalog.bytea;
  setting pg_catalog.text;
begin
  select c.token_sha256 into known from platform.connection c
  where c.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid();
  if (known operator(pg_catalog.=) pg_catalog.sha256(pg_catalog.convert_to(token, 'UTF8'))) is not true then
    raise insufficient_privilege using message = 'not the host';
  end if;
  if (timeout_ms > 0 and roles ~ '^([A-Z_]+(,[A-Z_]+)*)?$' and case kind
        when 'anonymous' then caller = nobody and roles = ''
        when 'user' then caller <> nobody and caller <> host
        when 'system' then caller = host and roles = ''
        else false end) is not true then
    raise insufficient_privilege using message = 'not an identity';
  end if;
  setting := pg_catalog.set_config('dinehub.caller', kind || '|' || caller::pg_catalog.text || '|' || roles || '|' ||
    platform.mac(kind, caller::pg_catalog.text, roles), true);
  setting := pg_catalog.set_config('statement_timeout', timeout_ms::pg_catalog.text, true);
end $$;
