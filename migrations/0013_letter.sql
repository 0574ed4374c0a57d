-- What is done by e-mail: tickets that prove who reads an address, and the letters that carry them.

alter table dinehub.account
  -- When it was proved that its owner reads what is sent to its address.
  add column verified_at timestamptz,
  -- From then on nobody logs in to it.
  add column deactivated_at timestamptz;

-- Accounts from before: nobody asked them for a proof.
update dinehub.account set verified_at = created_at;

-- Good once and for a while; only its hash is kept.
create table dinehub.ticket (
  token_hash bytea not null constraint ticket_pkey primary key
    constraint ticket_token_hash_length check (octet_length(token_hash) = 32),
  account_id uuid not null constraint ticket_is_of_an_account references dinehub.account (id) on delete cascade,
  purpose text not null constraint ticket_purpose_is_known check (purpose in ('verify', 'reset', 'email')),
  -- The address that its bearer reads, for a change of address.
  email text constraint ticket_email_is_ascii check (octet_length(email) between 3 and 254 and email ~ '^[!-~]+$'),
  expires_at timestamptz not null,
  constraint ticket_email_is_for_a_change check ((purpose = 'email') = (email is not null))
);
create index ticket_of_account on dinehub.ticket (account_id, purpose);
create index ticket_expires_at on dinehub.ticket (expires_at);

-- Letters on their way. Sealed: a ticket is in them.
create table dinehub.letter (
  id uuid not null default gen_random_uuid() constraint letter_pkey primary key,
  sealed bytea not null constraint letter_is_short check (octet_length(sealed) <= 8192),
  created_at timestamptz not null default now(),
  tries integer not null default 0 constraint letter_tries_range check (tries >= 0),
  next_at timestamptz not null default now()
);
create index letter_next_at on dinehub.letter (next_at);

-- Puts a letter on its way, if there is one.
create function dinehub.post(sealed bytea)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if post.sealed is not null then
    insert into dinehub.letter (sealed) values (post.sealed);
    perform pg_notify('dinehub_letter', '');
  end if;
end $$;

-- Opens an account, or, when the address is taken, tells its owner that somebody tried. Whether it was opened; nobody but
-- the host learns that.
create function dinehub.register(account uuid, email text, name text, password_hash text, roles text[],
  token_hash bytea, token_until timestamptz, welcome bytea, warning bytea)
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into dinehub.account (id, email, name, password_hash, roles)
  values (register.account, register.email, register.name, register.password_hash, register.roles)
  on conflict do nothing;
  if not found then
    perform dinehub.post(register.warning);
    return false;
  end if;
  if register.welcome is not null then
    insert into dinehub.ticket (token_hash, account_id, purpose, expires_at)
    values (register.token_hash, register.account, 'verify', register.token_until);
    perform dinehub.post(register.welcome);
  end if;
  return true;
end $$;

-- A ticket for whoever has this address, and the letter with it; nothing when nobody has, or it would be of no use. An
-- older ticket for the same purpose is void.
create function dinehub.hand_out(address text, purpose text, new_email text, token_hash bytea, token_until timestamptz,
  letter bytea)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  account uuid;
begin
  select a.id into account from dinehub.account a
  where lower(a.email) = hand_out.address and a.deactivated_at is null
    and (hand_out.purpose <> 'verify' or a.verified_at is null)
  for no key update;
  if not found then
    return;
  end if;
  delete from dinehub.ticket t where t.account_id = account and t.purpose = hand_out.purpose;
  insert into dinehub.ticket (token_hash, account_id, purpose, email, expires_at)
  values (hand_out.token_hash, account, hand_out.purpose, hand_out.new_email, hand_out.token_until);
  perform dinehub.post(hand_out.letter);
end $$;

-- Takes a ticket, once: the row that was there, or nothing.
create function dinehub.take_ticket(token_hash bytea, purpose text)
returns dinehub.ticket language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
  delete from dinehub.ticket t
  where t.token_hash = take_ticket.token_hash and t.purpose = take_ticket.purpose and t.expires_at > now()
  returning t.token_hash, t.account_id, t.purpose, t.email, t.expires_at;
end;

-- The address of an account was read by its owner. False for a ticket that is no good.
create function dinehub.verify_address(token_hash bytea)
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  ticket dinehub.ticket := dinehub.take_ticket(verify_address.token_hash, 'verify');
begin
  update dinehub.account a set verified_at = now() where a.id = ticket.account_id and a.verified_at is null;
  return ticket.account_id is not null;
end $$;

-- Another password by a ticket that was sent to the address, which is proved by it, too. Ends every token and every other
-- ticket of the account. Nothing for a ticket that is no good.
create function dinehub.reset_password(token_hash bytea, password_hash text, notice bytea, expires_at timestamptz,
  out account uuid, out epoch bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  ticket dinehub.ticket := dinehub.take_ticket(reset_password.token_hash, 'reset');
begin
  update dinehub.account a
  set password_hash = reset_password.password_hash, verified_at = coalesce(a.verified_at, now())
  where a.id = ticket.account_id and a.deactivated_at is null;
  if found then
    account := ticket.account_id;
    delete from dinehub.ticket t where t.account_id = ticket.account_id;
    epoch := dinehub.end_tokens(account, null, null, reset_password.expires_at);
    perform dinehub.post(reset_password.notice);
  end if;
end $$;

-- Another password instead of the one that was just proved. Ends every token and ticket; the session `keep` goes on. Null
-- when the password is another one by now.
create function dinehub.change_password(account uuid, proved_hash text, password_hash text, notice bytea, keep uuid,
  keep_until timestamptz, expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.account a set password_hash = change_password.password_hash
  where a.id = change_password.account and a.password_hash = change_password.proved_hash;
  if not found then
    return null;
  end if;
  delete from dinehub.ticket t where t.account_id = change_password.account;
  perform dinehub.post(change_password.notice);
  return dinehub.end_tokens(
    change_password.account, change_password.keep, change_password.keep_until, change_password.expires_at);
end $$;

-- Another address, by a ticket that was sent to it; `notice` goes to the old one. Every other ticket is void: it may have
-- been sent to the old address. Null for a ticket that is no good; raises `email_is_taken`.
create function dinehub.change_email(token_hash bytea, notice bytea)
returns uuid language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  ticket dinehub.ticket := dinehub.take_ticket(change_email.token_hash, 'email');
begin
  update dinehub.account a set email = ticket.email, verified_at = now()
  where a.id = ticket.account_id and a.deactivated_at is null;
  if not found then
    return null;
  end if;
  delete from dinehub.ticket t where t.account_id = ticket.account_id;
  perform dinehub.post(change_email.notice);
  return ticket.account_id;
end $$;

-- Whether somebody can log in to an account; ends its tokens and tickets either way. Null when there is no account.
create function dinehub.set_active(account uuid, is_active boolean, expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.account a
  set deactivated_at = case when set_active.is_active then null else coalesce(a.deactivated_at, now()) end
  where a.id = set_active.account;
  delete from dinehub.ticket t where t.account_id = set_active.account;
  return dinehub.end_tokens(set_active.account, null, null, set_active.expires_at);
end $$;

-- Letters to be sent now, by this node and no other until a minute is over; then somebody tries again, later each time.
create function dinehub.take_letters(count integer)
returns table (id uuid, sealed bytea) language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
  update dinehub.letter l
  set tries = l.tries + 1, next_at = now() + least(interval '1 hour', interval '1 minute' * power(2, least(l.tries, 10)))
  where l.id in (
    select due.id from dinehub.letter due where due.next_at <= now() order by due.next_at limit take_letters.count
    for update skip locked)
  returning l.id, l.sealed;
end;

do $$
declare
  control text := quote_ident(current_database() || '_control');
  callable text;
begin
  execute format('grant update (email, verified_at, deactivated_at) on dinehub.account to %s', control);
  execute format('grant select, insert, delete on dinehub.ticket to %s', control);
  execute format('grant select, insert, delete on dinehub.letter to %s', control);
  execute format('grant update (tries, next_at) on dinehub.letter to %s', control);
  foreach callable in array array[
    'post(bytea)', 'register(uuid, text, text, text, text[], bytea, timestamptz, bytea, bytea)',
    'hand_out(text, text, text, bytea, timestamptz, bytea)', 'take_ticket(bytea, text)', 'verify_address(bytea)',
    'reset_password(bytea, text, bytea, timestamptz)',
    'change_password(uuid, text, text, bytea, uuid, timestamptz, timestamptz)', 'change_email(bytea, bytea)',
    'set_active(uuid, boolean, timestamptz)', 'take_letters(integer)']
  loop
    execute format('revoke all on function dinehub.%s from public', callable);
    execute format('grant execute on function dinehub.%s to %s', callable, control);
  end loop;
end $$;
