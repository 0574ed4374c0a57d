-- Accounts on their way out: what was asked for, which plugins are done, and what stays.

create table dinehub.deletion (
  id uuid not null default gen_random_uuid() constraint deletion_pkey primary key,
  -- No reference: the account goes, this stays, and names nobody any more.
  account_id uuid not null constraint deletion_is_asked_for_once unique,
  requested_at timestamptz not null default now(),
  -- By plugin, what its `erase` answered: written when it is done, so that a host that dies goes on from there.
  report jsonb not null default '{}' constraint deletion_report_is_by_plugin check (jsonb_typeof(report) = 'object'),
  -- Nobody else takes it until then.
  lease_until timestamptz not null default now(),
  finished_at timestamptz
);
create index deletion_waits on dinehub.deletion (lease_until) where finished_at is null;

-- Switches an account off for good and remembers to delete it: the deletion, and the epoch that ends its tokens. Nothing
-- when there is no account.
create function dinehub.begin_deletion(account uuid, expires_at timestamptz, out id uuid, out epoch bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  epoch := dinehub.set_active(begin_deletion.account, false, begin_deletion.expires_at);
  if epoch is not null then
    insert into dinehub.deletion (account_id) values (begin_deletion.account)
    on conflict on constraint deletion_is_asked_for_once do nothing;
    select d.id into begin_deletion.id from dinehub.deletion d where d.account_id = begin_deletion.account;
  end if;
end $$;

-- A deletion to work on, for a minute and this node alone.
create function dinehub.take_deletion()
returns table (id uuid, account_id uuid, report text)
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
  update dinehub.deletion d set lease_until = now() + interval '1 minute'
  where d.id in (
    select due.id from dinehub.deletion due where due.finished_at is null and due.lease_until <= now()
    order by due.lease_until limit 1 for update skip locked)
  returning d.id, d.account_id, d.report::text;
end;

-- A plugin is done with it.
create function dinehub.note_erasure(deletion uuid, plugin text, outcome text)
returns void language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
  update dinehub.deletion d
  set report = d.report || jsonb_build_object(note_erasure.plugin, note_erasure.outcome::jsonb),
      lease_until = now() + interval '1 minute'
  where d.id = note_erasure.deletion;
end;

-- Every plugin is done: the account goes, with all that refers to it, and its owner is told.
create function dinehub.finish_deletion(deletion uuid, notice bytea)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from dinehub.account a using dinehub.deletion d
  where d.id = finish_deletion.deletion and d.finished_at is null and a.id = d.account_id;
  if found then
    perform dinehub.post(finish_deletion.notice);
  end if;
  update dinehub.deletion d set finished_at = now() where d.id = finish_deletion.deletion and d.finished_at is null;
end $$;

-- What is being deleted is not switched on again.
create or replace function dinehub.set_active(account uuid, is_active boolean, expires_at timestamptz)
returns bigint language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if set_active.is_active and exists (select from dinehub.deletion d where d.account_id = set_active.account) then
    return null;
  end if;
  update dinehub.account a
  set deactivated_at = case when set_active.is_active then null else coalesce(a.deactivated_at, now()) end
  where a.id = set_active.account;
  delete from dinehub.ticket t where t.account_id = set_active.account;
  return dinehub.end_tokens(set_active.account, null, null, set_active.expires_at);
end $$;

do $$
declare
  control text := quote_ident(current_database() || '_control');
  callable text;
begin
  execute format('grant delete on dinehub.account to %s', control);
  execute format('grant select, insert on dinehub.deletion to %s', control);
  execute format('grant update (report, lease_until, finished_at) on dinehub.deletion to %s', control);
  foreach callable in array array[
    'begin_deletion(uuid, timestamptz)', 'take_deletion()', 'note_erasure(uuid, text, text)',
    'finish_deletion(uuid, bytea)']
  loop
    execute format('revoke all on function dinehub.%s from public', callable);
    execute format('grant execute on function dinehub.%s to %s', callable, control);
  end loop;
end $$;
