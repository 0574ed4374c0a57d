-- The statement of identity in fewer steps. Each request waits for one, and what it cost was not its two hashes but getting
-- from function to function: one that sets search_path saves and restores the setting, and PERFORM plans a query for what an
-- assignment calls outright. The proof of the host therefore stands in `assume` itself, and settings are assigned.
-- What is checked, in which order, and what is raised are as they were; so are owner and grants.

create or replace function platform.assume(kind text, caller uuid, roles text, token text, timeout_ms int) returns void
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  nobody constant pg_catalog.uuid := '00000000-0000-0000-0000-000000000000';
  host constant pg_catalog.uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  setting pg_catalog.text;
begin
  if (select c.token_sha256 operator(pg_catalog.=) pg_catalog.sha256(pg_catalog.convert_to(token, 'UTF8'))
      from platform.connection c
      where c.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()) is not true then
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
