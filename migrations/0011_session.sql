-- Sessions: a login on a device, from its first token to its end. Tokens carry the session's id, so that ending a session
-- ends each token of it; an event that ends all tokens of an account still raises its epoch, and takes the rows with it.

create table dinehub.session (
  id uuid not null constraint session_pkey primary key,
  account_id uuid not null constraint session_is_of_an_account references dinehub.account (id) on delete cascade,
  -- What the browser said it is, in printable ASCII.
  device text constraint session_device_is_printable
    check (char_length(device) between 1 and 120 and device !~ '[^ -~]'),
  -- The epoch its tokens carry; a row of another epoch is of a session that is over.
  token_epoch bigint not null constraint session_token_epoch_range check (token_epoch >= 0),
  created_at timestamptz not null default now(),
  -- To the minute: written once a minute for all sessions that were used, and by no request.
  used_at timestamptz not null default date_trunc('minute', now()),
  -- When its last token expires.
  expires_at timestamptz not null
);
create index session_of_account on dinehub.session (account_id, created_at);
create index session_expires_at on dinehub.session (expires_at);

-- A token is ended with its session: what is logged is the hash of the session's id.
alter table dinehub.revocation rename column token_hash to session_hash;
alter table dinehub.revocation rename constraint revocation_token_hash_length to revocation_session_hash_length;

drop function dinehub.raise_epoch(uuid, text[], timestamptz);
drop function dinehub.log_revocation(bytea, uuid, bigint, timestamptz);

-- `seq` is drawn under a lock that is held until commit, so a reader that has seen n has seen everything before n.
create function dinehub.log_revocation(session_hash bytea, account_id uuid, epoch bigint, expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  drawn bigint;
begin
  perform pg_advisory_xact_lock(4950237, 1);
  insert into dinehub.revocation (session_hash, account_id, epoch, expires_at)
  values (log_revocation.session_hash, log_revocation.account_id, log_revocation.epoch, log_revocation.expires_at)
  returning seq into drawn;
  perform pg_notify('dinehub_revocation', drawn::text);
  return drawn;
end $$;

-- Opens a session in the account's epoch `epoch`. False when the account is in another one by now, or when there is such a
-- session already: a login is finished once.
create function dinehub.open_session(session uuid, account uuid, epoch bigint, device text, expires_at timestamptz)
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into dinehub.session (id, account_id, device, token_epoch, expires_at)
  select open_session.session, a.id, open_session.device, a.token_epoch, open_session.expires_at
  from dinehub.account a
  where a.id = open_session.account and a.token_epoch = open_session.epoch
  on conflict on constraint session_pkey do nothing;
  return found;
end $$;

-- Ends one session of an account on every node; null when the account has no such session.
create function dinehub.end_session(session uuid, account uuid)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  expiry timestamptz;
begin
  delete from dinehub.session s where s.id = end_session.session and s.account_id = end_session.account
  returning s.expires_at into expiry;
  if not found then
    return null;
  end if;
  return dinehub.log_revocation(sha256(uuid_send(end_session.session)), null, null, expiry);
end $$;

-- Ends every session of an account but `keep`; their number. One at a time for an account: two that each end the other
-- would lock rows in opposite order.
create function dinehub.end_other_sessions(account uuid, keep uuid)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  gone uuid[];
  expiry timestamptz[];
begin
  perform from dinehub.account a where a.id = end_other_sessions.account for no key update;
  with deleted as (
    delete from dinehub.session s where s.account_id = end_other_sessions.account and s.id <> end_other_sessions.keep
    returning s.id, s.expires_at)
  select array_agg(d.id), array_agg(d.expires_at) into gone, expiry from deleted d;
  perform dinehub.log_revocation(sha256(uuid_send(ended.id)), null, null, ended.expires_at)
  from unnest(gone, expiry) as ended (id, expires_at);
  return coalesce(cardinality(gone), 0);
end $$;

-- Ends every token of an account by raising its epoch; the session `keep`, when it is not null and still there, goes on in
-- the new one until `keep_until`. What was ended is remembered until `expires_at`. Null when there is no account.
create function dinehub.end_tokens(account uuid, keep uuid, keep_until timestamptz, expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  raised bigint;
begin
  update dinehub.account a set token_epoch = a.token_epoch + 1 where a.id = end_tokens.account
  returning a.token_epoch into raised;
  if raised is null then
    return null;
  end if;
  delete from dinehub.session s
  where s.account_id = end_tokens.account and s.id is distinct from end_tokens.keep;
  update dinehub.session s set token_epoch = raised, expires_at = end_tokens.keep_until
  where s.id = end_tokens.keep and s.account_id = end_tokens.account;
  perform dinehub.log_revocation(null, end_tokens.account, raised, end_tokens.expires_at);
  return raised;
end $$;

-- Gives an account other roles and ends its tokens, which name the old ones. Null when there is no account.
create function dinehub.set_roles(account uuid, roles text[], expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.account a set roles = set_roles.roles where a.id = set_roles.account;
  return dinehub.end_tokens(set_roles.account, null, null, set_roles.expires_at);
end $$;

-- Writes down that sessions were used. Rows that another node is writing are its business: no node waits for another.
create function dinehub.sessions_were_used(used uuid[])
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.session s set used_at = date_trunc('minute', now())
  where s.id in (
    select free.id from dinehub.session free where free.id = any (sessions_were_used.used)
      and free.used_at < date_trunc('minute', now())
    for no key update skip locked);
end $$;

do $$
declare
  control text := quote_ident(current_database() || '_control');
  callable text;
begin
  execute format('grant select, insert, delete on dinehub.session to %s', control);
  execute format('grant update (token_epoch, used_at, expires_at) on dinehub.session to %s', control);
  foreach callable in array array[
    'log_revocation(bytea, uuid, bigint, timestamptz)', 'open_session(uuid, uuid, bigint, text, timestamptz)',
    'end_session(uuid, uuid)', 'end_other_sessions(uuid, uuid)', 'end_tokens(uuid, uuid, timestamptz, timestamptz)',
    'set_roles(uuid, text[], timestamptz)', 'sessions_were_used(uuid[])']
  loop
    execute format('revoke all on function dinehub.%s from public', callable);
    execute format('grant execute on function dinehub.%s to %s', callable, control);
  end loop;
end $$;
