-- The second factor: codes by time (TOTP, RFC 6238), and codes for the day the device is lost.

create table dinehub.totp (
  account_id uuid not null constraint totp_pkey primary key
    constraint totp_is_of_an_account references dinehub.account (id) on delete cascade,
  -- Sealed by the ring `account`, for this account.
  secret bytea not null constraint totp_secret_is_sealed check (octet_length(secret) between 48 and 160),
  -- Null until its owner gave a right code: until then it proves nothing.
  confirmed_at timestamptz,
  -- The last time step whose code was taken; no code of it or of one before is taken again.
  last_step bigint not null constraint totp_last_step_range check (last_step >= 0)
);

create table dinehub.recovery_code (
  account_id uuid not null constraint recovery_code_is_of_an_account references dinehub.account (id) on delete cascade,
  -- HMAC by the ring `account`; the codes have 80 random bits, so nothing slower is needed.
  code_hash bytea not null constraint recovery_code_hash_length check (octet_length(code_hash) = 32),
  constraint recovery_code_pkey primary key (account_id, code_hash)
);

-- Keeps a secret that is not confirmed yet; false when a confirmed one is there.
create function dinehub.enrol_totp(account uuid, secret bytea)
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into dinehub.totp as kept (account_id, secret, last_step) values (enrol_totp.account, enrol_totp.secret, 0)
  on conflict on constraint totp_pkey do update set secret = excluded.secret, last_step = 0
  where kept.confirmed_at is null;
  return found;
end $$;

-- The secret `secret` was proved by the code of `step`: from now on it is asked for, with these recovery codes. Ends every
-- token of the account; the session `keep` goes on. Null when it is not the one that waits to be confirmed.
create function dinehub.confirm_totp(account uuid, secret bytea, step bigint, codes bytea[], keep uuid,
  keep_until timestamptz, expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.totp t set confirmed_at = now(), last_step = confirm_totp.step
  where t.account_id = confirm_totp.account and t.secret = confirm_totp.secret and t.confirmed_at is null;
  if not found then
    return null;
  end if;
  insert into dinehub.recovery_code (account_id, code_hash)
  select confirm_totp.account, code from unnest(confirm_totp.codes) code;
  return dinehub.end_tokens(
    confirm_totp.account, confirm_totp.keep, confirm_totp.keep_until, confirm_totp.expires_at);
end $$;

-- Takes the factor away. Ends every token of the account; the session `keep` goes on. Null when there is none.
create function dinehub.remove_totp(account uuid, keep uuid, keep_until timestamptz, expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from dinehub.totp t where t.account_id = remove_totp.account and t.confirmed_at is not null;
  if not found then
    return null;
  end if;
  delete from dinehub.recovery_code c where c.account_id = remove_totp.account;
  return dinehub.end_tokens(remove_totp.account, remove_totp.keep, remove_totp.keep_until, remove_totp.expires_at);
end $$;

-- Takes the code of a step, once: false when it, or one of a later step, was taken before.
create function dinehub.burn_totp_step(account uuid, step bigint)
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.totp t set last_step = burn_totp_step.step
  where t.account_id = burn_totp_step.account and t.confirmed_at is not null and t.last_step < burn_totp_step.step;
  return found;
end $$;

-- Takes a recovery code, once; `hashes` is what it may be stored as.
create function dinehub.burn_recovery_code(account uuid, hashes bytea[])
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from dinehub.recovery_code c
  where c.account_id = burn_recovery_code.account and c.code_hash = any (burn_recovery_code.hashes);
  return found;
end $$;

-- Other recovery codes, instead of all there were; false when the account has no factor.
create function dinehub.replace_recovery_codes(account uuid, codes bytea[])
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform from dinehub.totp t
  where t.account_id = replace_recovery_codes.account and t.confirmed_at is not null for no key update;
  if not found then
    return false;
  end if;
  delete from dinehub.recovery_code c where c.account_id = replace_recovery_codes.account;
  insert into dinehub.recovery_code (account_id, code_hash)
  select replace_recovery_codes.account, code from unnest(replace_recovery_codes.codes) code;
  return true;
end $$;

do $$
declare
  control text := quote_ident(current_database() || '_control');
  callable text;
begin
  execute format('grant select, insert, delete on dinehub.totp, dinehub.recovery_code to %s', control);
  execute format('grant update (secret, confirmed_at, last_step) on dinehub.totp to %s', control);
  foreach callable in array array[
    'enrol_totp(uuid, bytea)', 'confirm_totp(uuid, bytea, bigint, bytea[], uuid, timestamptz, timestamptz)',
    'remove_totp(uuid, uuid, timestamptz, timestamptz)', 'burn_totp_step(uuid, bigint)',
    'burn_recovery_code(uuid, bytea[])', 'replace_recovery_codes(uuid, bytea[])']
  loop
    execute format('revoke all on function dinehub.%s from public', callable);
    execute format('grant execute on function dinehub.%s to %s', callable, control);
  end loop;
end $$;
