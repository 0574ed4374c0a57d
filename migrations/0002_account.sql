-- Who can log in, which tokens are dead before their time, and how often somebody tried.
--
-- The host reads and writes these tables as `<database>_control`, which owns nothing. Where several things must happen
-- together there is one function, so that the host sends one statement and a cancelled request leaves no transaction open.

create schema if not exists dinehub;

-- The login of the host. Its password is set by the host, derived from the ring `database`.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = current_database() || '_control') then
    execute format('create role %I login nosuperuser nocreatedb nocreaterole', current_database() || '_control');
  end if;
end $$;

create table dinehub.account (
  id uuid not null constraint account_pkey primary key,
  -- As the person wrote it; compared without case.
  email text not null constraint account_email_is_ascii check (octet_length(email) between 3 and 254 and email ~ '^[!-~]+$'),
  name text not null constraint account_name_length check (char_length(name) between 1 and 100),
  password_hash text not null constraint account_password_is_argon2id
    check (password_hash like '$argon2id$%' and octet_length(password_hash) <= 255),
  roles text[] not null constraint account_role_count
    check (cardinality(roles) <= 16 and array_position(roles, null) is null),
  -- Tokens carry the epoch they were issued in; raising it ends all of them. A counter, because `iat` has only seconds.
  token_epoch bigint not null default 0 constraint account_token_epoch_range check (token_epoch >= 0),
  created_at timestamptz not null default now()
);
create unique index email_is_taken on dinehub.account (lower(email));

-- The log of revocations. Each node keeps what is unexpired in memory and reads on from the last `seq` it saw.
create table dinehub.revocation (
  seq bigint not null generated always as identity constraint revocation_pkey primary key,
  -- SHA-256 of a token's id: that token is dead.
  token_hash bytea constraint revocation_token_hash_length check (octet_length(token_hash) = 32),
  -- Tokens of this account from before `epoch` are dead.
  account_id uuid,
  epoch bigint,
  expires_at timestamptz not null,
  constraint revocation_is_of_one_kind check (
    (token_hash is not null and account_id is null and epoch is null)
    or (token_hash is null and account_id is not null and epoch is not null))
);
create index revocation_expires_at on dinehub.revocation (expires_at);

-- Attempts to log in, by a hash of what is counted. A row is charged before the password is looked at, so that a
-- thousand attempts at once are a thousand attempts.
create table dinehub.throttle (
  key bytea not null constraint throttle_pkey primary key constraint throttle_key_length check (octet_length(key) = 32),
  charges integer not null constraint throttle_charges_range check (charges >= 0),
  blocked_until timestamptz not null,
  charged_at timestamptz not null,
  -- The last success, for a pair of account and source: from then on the source is known to be good.
  good_at timestamptz
);
create index throttle_charged_at on dinehub.throttle (charged_at);

-- `seq` is drawn under a lock that is held until commit, so a reader that has seen n has seen everything before n.
create function dinehub.log_revocation(token_hash bytea, account_id uuid, epoch bigint, expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  drawn bigint;
begin
  perform pg_advisory_xact_lock(4950237, 1);
  insert into dinehub.revocation (token_hash, account_id, epoch, expires_at)
  values (log_revocation.token_hash, log_revocation.account_id, log_revocation.epoch, log_revocation.expires_at)
  returning seq into drawn;
  perform pg_notify('dinehub_revocation', drawn::text);
  return drawn;
end $$;

-- Ends every token of an account, and gives it other roles when `new_roles` is not null. Null when there is no account.
create function dinehub.raise_epoch(account uuid, new_roles text[], expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  raised bigint;
begin
  update dinehub.account a
  set token_epoch = a.token_epoch + 1, roles = coalesce(new_roles, a.roles)
  where a.id = raise_epoch.account
  returning a.token_epoch into raised;
  if raised is not null then
    perform dinehub.log_revocation(null, raise_epoch.account, raised, raise_epoch.expires_at);
  end if;
  return raised;
end $$;

-- Charges one attempt to `key`: 0 when it may go on, else the milliseconds until it may. The first `free` attempts cost
-- nothing; each further one doubles the wait, up to `cap_ms`. One charge is forgiven for each `decay_ms` of quiet.
create function dinehub.charge(key bytea, free integer, base_ms integer, cap_ms integer, decay_ms integer)
returns integer language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := clock_timestamp();
  held dinehub.throttle;
  forgiven integer;
  charged integer;
  wait_ms double precision;
begin
  insert into dinehub.throttle (key, charges, blocked_until, charged_at) values (charge.key, 0, moment, moment)
  on conflict on constraint throttle_pkey do nothing;
  select * into held from dinehub.throttle t where t.key = charge.key for update;
  moment := clock_timestamp();
  if held.blocked_until > moment then
    return ceil(extract(epoch from held.blocked_until - moment) * 1000);
  end if;
  forgiven := least(1000, floor(extract(epoch from moment - held.charged_at) * 1000 / decay_ms));
  charged := least(1000, greatest(0, held.charges - forgiven) + 1);
  wait_ms := case when charged <= free then 0
    else least(cap_ms, base_ms * power(2::double precision, least(30, charged - free - 1))) end;
  update dinehub.throttle t
  set charges = charged, charged_at = moment, blocked_until = moment + make_interval(secs => wait_ms / 1000)
  where t.key = charge.key;
  return 0;
end $$;

-- One attempt to log in: charged to the source, to the pair of account and source, and to the account, in that order and
-- only until one of them says wait. A pair that succeeded in the last 30 days is not stopped by what others do to the
-- account: nobody can lock its owner out. The arrays hold source, pair, account.
create function dinehub.attempt(key bytea[], free integer[], base_ms integer, cap_ms integer, decay_ms integer)
returns integer language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  wait_ms integer;
begin
  for i in 1..3 loop
    if i = 3 and exists (
      select from dinehub.throttle t where t.key = attempt.key[2] and t.good_at > clock_timestamp() - interval '30 days')
    then
      exit;
    end if;
    wait_ms := dinehub.charge(attempt.key[i], free[i], base_ms, cap_ms, decay_ms);
    if wait_ms > 0 then
      return wait_ms;
    end if;
  end loop;
  return 0;
end $$;

-- The attempt was right: what it was charged is given back, and the source is known to be good for the account.
-- Waits that stand on the source or the account stay: they are the work of others.
create function dinehub.attempt_was_good(key bytea[])
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.throttle t set charges = greatest(0, t.charges - 1)
  where t.key = attempt_was_good.key[1]
     or t.key = attempt_was_good.key[3] and not exists (
       select from dinehub.throttle pair
       where pair.key = attempt_was_good.key[2] and pair.good_at > clock_timestamp() - interval '30 days');
  update dinehub.throttle t set charges = 0, blocked_until = clock_timestamp(), good_at = clock_timestamp()
  where t.key = attempt_was_good.key[2];
end $$;

-- Who may: the host, and nobody who only happens to be in this database.
do $$
declare
  control text := quote_ident(current_database() || '_control');
  callable text;
begin
  execute format('grant usage on schema dinehub to %s', control);
  execute format('grant select, insert on dinehub.account to %s', control);
  execute format('grant update (name, password_hash, roles, token_epoch) on dinehub.account to %s', control);
  execute format('grant select, insert, delete on dinehub.revocation to %s', control);
  execute format('grant select, insert, update, delete on dinehub.throttle to %s', control);
  foreach callable in array array[
    'log_revocation(bytea, uuid, bigint, timestamptz)', 'raise_epoch(uuid, text[], timestamptz)',
    'charge(bytea, integer, integer, integer, integer)', 'attempt(bytea[], integer[], integer, integer, integer)',
    'attempt_was_good(bytea[])']
  loop
    execute format('revoke all on function dinehub.%s from public', callable);
    execute format('grant execute on function dinehub.%s to %s', callable, control);
  end loop;
end $$;
