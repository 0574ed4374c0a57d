-- Accounts on their way out: what was asked for, which plugins are done, which are waited for, and what stays.

create table dinehub.deletion (
  id uuid not null default gen_random_uuid() constraint deletion_pkey primary key,
  -- No reference: the account goes, this stays, and names nobody any more.
  account_id uuid not null constraint deletion_is_asked_for_once unique,
  requested_at timestamptz not null default now(),
  -- By plugin, what its `erase` answered: written when it is done, so that a host that dies goes on from there.
  report jsonb not null default '{}' constraint deletion_report_is_by_plugin check (jsonb_typeof(report) = 'object'),
  -- Plugins that did not come to it when it was last tried: switched off, gone, or failing.
  waits_for text[] not null default '{}',
  -- Nobody else takes it until then.
  lease_until timestamptz not null default now(),
  finished_at timestamptz
);
create index deletion_waits on dinehub.deletion (lease_until) where finished_at is null;

-- Whether a plugin keeps something about people and can forget it. A deletion is not over before each of these was asked,
-- also those that no host serves now: their rows are still there. Those from before are asked until `db apply` knows better.
alter table dinehub.admission add column forgets boolean not null default true;

-- Switches an account off for good and remembers to delete it, not before `quiet_s` seconds have passed: by then no node
-- believes its tokens and no request of it is in flight. The deletion, and the epoch that ends its tokens; nothing when
-- there is no account.
create function dinehub.begin_deletion(account uuid, expires_at timestamptz, quiet_s integer, out id uuid,
  out epoch bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  epoch := dinehub.set_active(begin_deletion.account, false, begin_deletion.expires_at);
  if epoch is not null then
    insert into dinehub.deletion (account_id, lease_until)
    values (begin_deletion.account, now() + make_interval(secs => begin_deletion.quiet_s))
    on conflict on constraint deletion_is_asked_for_once do nothing;
    select d.id into begin_deletion.id from dinehub.deletion d where d.account_id = begin_deletion.account;
  end if;
end $$;

-- A deletion to work on, for a minute and this node alone; with the plugins that must have forgotten the account.
create function dinehub.take_deletion()
returns table (deletion uuid, account uuid, done text, keepers text[])
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  return query
  update dinehub.deletion d set lease_until = now() + interval '1 minute'
  where d.id in (
    select due.id from dinehub.deletion due where due.finished_at is null and due.lease_until <= now()
    order by due.lease_until limit 1 for update skip locked)
  returning d.id, d.account_id, d.report::text,
    array(select a.plugin from dinehub.admission a where a.forgets order by a.plugin);
end $$;

-- A plugin is done with it.
create function dinehub.note_erasure(deletion uuid, plugin text, outcome text)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.deletion d
  set report = d.report || jsonb_build_object(note_erasure.plugin, note_erasure.outcome::jsonb),
      lease_until = now() + interval '1 minute'
  where d.id = note_erasure.deletion and d.finished_at is null;
end $$;

-- These plugins did not come to it: it is tried again in `retry_s` seconds. Whether that is news.
create function dinehub.put_deletion_off(deletion uuid, waits_for text[], retry_s integer)
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  is_news boolean;
begin
  select d.waits_for is distinct from put_deletion_off.waits_for into is_news
  from dinehub.deletion d where d.id = put_deletion_off.deletion for no key update;
  update dinehub.deletion d
  set waits_for = put_deletion_off.waits_for,
      lease_until = now() + make_interval(secs => put_deletion_off.retry_s)
  where d.id = put_deletion_off.deletion and d.finished_at is null;
  return coalesce(is_news, false);
end $$;

-- Every plugin is done: the account goes, with all that refers to it, and its owner is told. False when somebody else was
-- faster.
create function dinehub.finish_deletion(deletion uuid, notice bytea)
returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update dinehub.deletion d set finished_at = now(), waits_for = '{}'
  where d.id = finish_deletion.deletion and d.finished_at is null;
  if not found then
    return false;
  end if;
  delete from dinehub.account a using dinehub.deletion d where d.id = finish_deletion.deletion and a.id = d.account_id;
  perform dinehub.post(finish_deletion.notice);
  return true;
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
  execute format('grant update (report, waits_for, lease_until, finished_at) on dinehub.deletion to %s', control);
  foreach callable in array array[
    'begin_deletion(uuid, timestamptz, integer)', 'take_deletion()', 'note_erasure(uuid, text, text)',
    'put_deletion_off(uuid, text[], integer)', 'finish_deletion(uuid, bytea)']
  loop
    execute format('revoke all on function dinehub.%s from public', callable);
    execute format('grant execute on function dinehub.%s to %s', callable, control);
  end loop;
end $$;
