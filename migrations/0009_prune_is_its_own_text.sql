-- A `begin atomic` body is kept as a tree, and PostgreSQL prints it differently from one minor version to the next (15.18
-- `DELETE FROM x i`, 15.20 `DELETE FROM x AS i`): `db verify` then saw drift where there was none. PL/pgSQL keeps its text.

create or replace function platform.idempotency_prune() returns bigint
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  gone pg_catalog.int8;
begin
  delete from platform.idempotency i where i.stored <= pg_catalog.now() - '24 hours'::pg_catalog.interval;
  get diagnostics gone = row_count;
  return gone;
end $$;
