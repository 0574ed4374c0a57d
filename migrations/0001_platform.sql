-- Who is calling, stated by the host so that no SQL in the session can forge it; and answers kept for a retry.
--
-- A plugin's login may run nothing but its pinned statements. This schema promises what holds even if it could run any
-- SQL: one request's transaction reads and writes as the caller the host stated, and as nobody else. Each line answers
-- an attack that worked on an earlier draft (tests/suite/identity_sql.rs keeps them):
--
-- * the definer is a nologin role that owns nothing else and is no superuser (a pg_temp domain's CHECK ran as it);
-- * search_path is pg_catalog, pg_temp in every function, and every name and type is qualified (pg_temp shadowing);
-- * a statement of identity has exactly four parts, and a check that is not TRUE raises (a NULL mac compared as equal);
-- * NULL is never an identity: anonymous, user and system are explicit, each with its own shape of account id;
-- * `assume` demands a token of this connection, and the host sends it unnamed each time (a named statement was
--   re-PREPAREd by the session to read the token); only the token's hash is stored;
-- * the mac binds a statement to this backend and to this transaction's start (a copied value served a later caller);
-- * a role name cannot hold the separators, so that no list of roles reads as another one.
--
-- Plugins' logins are granted, by `dinehub db apply`: usage on schema platform; execute on assume, caller_id,
-- caller_kind, caller_has, idempotency_claim, idempotency_store. Nothing else here, ever.
-- A policy calls the functions as a sub-select, so that they run once a statement:
--   create policy own on ordering.purchase using (customer_id = (select platform.caller_id()));
--
-- Runs as a superuser, once a database. Roles are cluster-wide, so their names carry the database's.

do $$
declare
  identity text := current_database() || '_identity';
  control text := current_database() || '_control';
begin
  execute format('create role %I nologin nosuperuser nocreatedb nocreaterole noinherit', identity);
  if not exists (select from pg_roles where rolname = control) then
    execute format('create role %I login nosuperuser nocreatedb nocreaterole noinherit', control);
  end if;
  execute format('revoke temporary on database %I from public', current_database());
  revoke all on schema public from public;
  execute format('create schema platform authorization %I', identity);
  execute format('create schema dinehub');
  execute format('grant usage on schema platform, dinehub to %I', control);
end $$;

-- What only the definer knows. One row; made here and never shown.
create table platform.proof (
  one boolean primary key default true constraint proof_is_one_row check (one),
  a bytea not null,
  b bytea not null
);
insert into platform.proof (a, b)
select sha256(decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')),
       sha256(decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- The connections that the host opened for plugins. A row outlives its backend only until the host sweeps; without the
-- token, which left with the host's memory, a stale row opens nothing.
create table platform.connection (
  pid int primary key,
  started timestamptz not null default now(),
  token_sha256 bytea not null constraint connection_token_is_hashed check (octet_length(token_sha256) = 32)
);

-- Answers to requests that carried an Idempotency-Key, by login and caller. The key is kept hashed.
create table platform.idempotency (
  key_sha256 bytea primary key,
  request_sha256 bytea not null,
  status int not null constraint idempotency_status_is_http check (status between 100 and 599),
  body bytea not null,
  stored timestamptz not null default now()
);
create index idempotency_by_age on platform.idempotency (stored);

-- Whether this connection's token was shown. Not for plugins: only the definer calls it.
create function platform.is_host(token text) returns boolean
language sql stable parallel restricted set search_path = pg_catalog, pg_temp
return (
  select pg_catalog.count(*) operator(pg_catalog.=) 1
  from platform.connection c
  where c.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()
    and c.token_sha256 operator(pg_catalog.=) pg_catalog.sha256(pg_catalog.convert_to(token, 'UTF8')));

-- The seal on a statement of identity, good for this backend and this transaction.
create function platform.mac(kind text, caller text, roles text) returns text
language sql stable parallel restricted set search_path = pg_catalog, pg_temp
return (
  select pg_catalog.encode(pg_catalog.sha256(p.a || pg_catalog.sha256(p.b || pg_catalog.convert_to(
    kind || '|' || caller || '|' || roles || '|' || pg_catalog.pg_backend_pid()::pg_catalog.text || '|' ||
    pg_catalog.extract('epoch', pg_catalog.now())::pg_catalog.text, 'UTF8'))), 'hex')
  from platform.proof p);

-- The host states the caller of this transaction and how long each of its statements may take (milliseconds).
-- Raises 42501 for anybody else, and for a caller that is no identity.
create function platform.assume(kind text, caller uuid, roles text, token text, timeout_ms int) returns void
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  nobody constant pg_catalog.uuid := '00000000-0000-0000-0000-000000000000';
  host constant pg_catalog.uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
begin
  if platform.is_host(token) is not true then
    raise insufficient_privilege using message = 'not the host';
  end if;
  if (timeout_ms > 0 and roles ~ '^([A-Z_]+(,[A-Z_]+)*)?$' and case kind
        when 'anonymous' then caller = nobody and roles = ''
        when 'user' then caller <> nobody and caller <> host
        when 'system' then caller = host and roles = ''
        else false end) is not true then
    raise insufficient_privilege using message = 'not an identity';
  end if;
  perform pg_catalog.set_config('dinehub.caller', kind || '|' || caller::pg_catalog.text || '|' || roles || '|' ||
    platform.mac(kind, caller::pg_catalog.text, roles), true);
  perform pg_catalog.set_config('statement_timeout', timeout_ms::pg_catalog.text, true);
end $$;

-- The parts of a statement of identity that is genuine: kind, account, roles, mac. Not for plugins.
create function platform.stated() returns text[]
language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
declare
  part pg_catalog.text[] := pg_catalog.string_to_array(pg_catalog.current_setting('dinehub.caller', true), '|');
begin
  if (pg_catalog.cardinality(part) = 4 and part[1] <> '' and part[2] <> '' and part[4] <> ''
      and part[4] = platform.mac(part[1], part[2], part[3])) is not true then
    raise insufficient_privilege using message = 'no caller, or a forged one';
  end if;
  return part;
end $$;

-- The caller's account: the nil UUID for anonymous, ffffffff-… for the system. Raises 42501 when there is none.
create function platform.caller_id() returns uuid
language plpgsql stable parallel restricted security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (platform.stated())[2]::pg_catalog.uuid;
end $$;

-- anonymous, user or system. Raises 42501 when there is no caller.
create function platform.caller_kind() returns text
language plpgsql stable parallel restricted security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (platform.stated())[1];
end $$;

-- Whether the caller has the role, by the host's word. False for anonymous and system; raises 42501 without a caller.
create function platform.caller_has(role text) returns boolean
language plpgsql stable parallel restricted security definer set search_path = pg_catalog, pg_temp as $$
begin
  return coalesce(role = any (pg_catalog.string_to_array((platform.stated())[3], ',')), false);
end $$;

-- Where an answer is kept: one login's, one caller's. `session_user` is the login, whatever SET ROLE says.
create function platform.idempotency_place(key bytea) returns bytea
language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
declare
  place pg_catalog.bytea := pg_catalog.sha256(
    pg_catalog.sha256(pg_catalog.convert_to(session_user::pg_catalog.text || '|' || (platform.stated())[1] || '|' ||
      (platform.stated())[2], 'UTF8')) || pg_catalog.sha256(key));
begin
  if place is null then
    raise insufficient_privilege using message = 'no key';
  end if;
  return place;
end $$;

-- Asks for the right to answer a request, until the transaction ends:
-- fresh (go on, then store), in_flight (another transaction is at it), replay (here is the answer that was given),
-- mismatch (the key was used with another request). An answer is kept for 24 hours.
create function platform.idempotency_claim(key bytea, request bytea, token text,
  out outcome text, out status int, out body bytea)
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  place pg_catalog.bytea;
  kept platform.idempotency;
begin
  if platform.is_host(token) is not true or request is null then
    raise insufficient_privilege using message = 'not the host';
  end if;
  place := platform.idempotency_place(key);
  -- A kept answer is read without the lock, so that a replay is never in the way of the next one.
  for attempt in 1..2 loop
    select i.* into kept from platform.idempotency i
    where i.key_sha256 = place and i.stored > pg_catalog.now() - '24 hours'::pg_catalog.interval;
    exit when attempt = 2 or kept.key_sha256 is not null;
    if not pg_catalog.pg_try_advisory_xact_lock(
        pg_catalog.hashtextextended(pg_catalog.encode(place, 'hex'), 0)) then
      outcome := 'in_flight';
      return;
    end if;
    -- The lock is released after a commit is visible, so the second look sees what the last holder stored.
  end loop;
  if kept.key_sha256 is null then
    outcome := 'fresh';
  elsif kept.request_sha256 <> pg_catalog.sha256(request) then
    outcome := 'mismatch';
  else
    outcome := 'replay';
    status := kept.status;
    body := kept.body;
  end if;
end $$;

-- Keeps the answer to a claimed request; it commits, or does not, with the request's own effect.
create function platform.idempotency_store(key bytea, request bytea, status int, body bytea, token text) returns void
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
begin
  if platform.is_host(token) is not true then
    raise insufficient_privilege using message = 'not the host';
  end if;
  insert into platform.idempotency as kept (key_sha256, request_sha256, status, body)
  values (platform.idempotency_place(key), pg_catalog.sha256(request),
          idempotency_store.status, idempotency_store.body)
  on conflict (key_sha256) do update
    set request_sha256 = excluded.request_sha256, status = excluded.status, body = excluded.body,
        stored = excluded.stored
    where kept.stored <= pg_catalog.now() - '24 hours'::pg_catalog.interval;
  if not found then
    raise insufficient_privilege using message = 'an answer is kept already';
  end if;
end $$;

-- Forgets answers older than 24 hours and gives their number. For the host.
create function platform.idempotency_prune() returns bigint
language sql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp
begin atomic
  with gone as (
    delete from platform.idempotency i
    where i.stored <= pg_catalog.now() - '24 hours'::pg_catalog.interval
    returning 1)
  select pg_catalog.count(*) from gone;
end;

do $$
declare
  identity text := current_database() || '_identity';
  control text := current_database() || '_control';
  thing regclass;
  routine regprocedure;
begin
  for thing in select oid from pg_class where relnamespace = 'platform'::regnamespace and relkind = 'r' loop
    execute format('alter table %s owner to %I', thing, identity);
  end loop;
  for routine in select oid from pg_proc where pronamespace = 'platform'::regnamespace loop
    execute format('alter function %s owner to %I', routine, identity);
  end loop;
  revoke all on schema platform, dinehub from public;
  revoke all on all tables in schema platform from public;
  revoke all on all functions in schema platform from public;
  execute format('alter default privileges for role %I revoke execute on functions from public', identity);
  execute format('grant select, insert, update, delete on platform.connection to %I', control);
  execute format('grant execute on function platform.idempotency_prune() to %I', control);
end $$;
