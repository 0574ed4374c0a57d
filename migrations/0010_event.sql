-- Events that plugins publish, with one delivery for each subscriber; and the schedules of plugins.
--
-- An event is written in the transaction of the call that publishes it: both last, or neither. A delivery is taken in
-- the transaction of the subscriber's own effects: both last, or neither. So a host that dies at any moment loses no
-- event and repeats no effect that the database holds; nothing here needs a lease or a clean-up after a crash, because
-- the row lock of `event_take` dies with the session that held it. A schedule's run is taken in the same way.
--
-- Plugins' logins may execute event_publish, event_take and schedule_take (the `_rw` ones), which demand the
-- connection's token like `platform.assume`, and compare `session_user` with the plugin they are told. They hold nothing
-- on the tables. The host reads, counts failures and prunes as `<db>_control`.
--
-- Nothing here notifies: a transaction that did would hold a lock of the whole server while it is written to disk, and so
-- would wait for every other that publishes (PostgreSQL 15, async.c). The host does, afterwards, and once for many.

create table platform.event (
  id bigint generated always as identity constraint event_pkey primary key,
  publisher text not null constraint event_publisher_length check (octet_length(publisher) between 2 and 24),
  -- `dinehub:orders/order-events@1.0.0`, and the function of it.
  interface text not null constraint event_interface_length check (octet_length(interface) between 1 and 200),
  function text not null constraint event_function_length check (octet_length(function) between 1 and 100),
  -- Events of one interface with the same key are delivered in the order in which they were committed.
  key text constraint event_key_length check (octet_length(key) between 1 and 255),
  -- The arguments: a JSON array.
  payload text not null constraint event_payload_length check (octet_length(payload) <= 65536),
  -- The account that caused it; null when nobody was logged in.
  cause uuid,
  -- How many events stand between this one and a request.
  hops int not null constraint event_hops_range check (hops between 0 and 100),
  published_at timestamptz not null default now()
);

create table platform.delivery (
  id bigint generated always as identity constraint delivery_pkey primary key,
  event_id bigint not null constraint delivery_has_an_event references platform.event on delete cascade,
  subscriber text not null constraint delivery_subscriber_length check (octet_length(subscriber) between 2 and 24),
  -- Repeated from the event, for the order.
  interface text not null,
  key text,
  state text not null default 'pending' constraint delivery_state_is_known check (state in ('pending', 'delivered', 'dead')),
  -- Failed so far; what the host or the database failed at is not counted.
  attempts int not null default 0 constraint delivery_attempts_range check (attempts >= 0),
  due_at timestamptz not null default now(),
  delivered_at timestamptz,
  -- For operators; never shown to a plugin.
  failure text constraint delivery_failure_length check (octet_length(failure) <= 2000),
  constraint delivery_is_once_a_subscriber unique (event_id, subscriber)
);
create index delivery_by_turn on platform.delivery (subscriber, interface, key, id) where state = 'pending';
create index delivery_by_time on platform.delivery (subscriber, due_at, id) where state = 'pending';
create index delivery_by_end on platform.delivery (delivered_at) where state = 'delivered';
create index delivery_dead on platform.delivery (id) where state = 'dead';

create table platform.schedule (
  plugin text not null constraint schedule_plugin_length check (octet_length(plugin) between 2 and 24),
  function text not null constraint schedule_function_length check (octet_length(function) between 1 and 100),
  cron text not null constraint schedule_cron_length check (octet_length(cron) between 1 and 100),
  -- Seconds since 1970-01-01 UTC: cron counts in minutes. One row a schedule, so a time that was missed ten times is due once.
  due_s bigint not null,
  ran_s bigint,
  failures int not null default 0,
  failure text constraint schedule_failure_length check (octet_length(failure) <= 2000),
  constraint schedule_pkey primary key (plugin, function)
);

-- Whether this session is the host's, at the writing login of `plugin`, with a caller stated. Not for plugins.
create function platform.ensure_writer(plugin text, token text) returns void
language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
begin
  if (platform.is_host(token)
      and session_user = pg_catalog.current_database()::pg_catalog.text || '_' || plugin || '_rw'
      and platform.stated() is not null) is not true then
    raise insufficient_privilege using message = 'not the host';
  end if;
end $$;

-- Writes an event and its deliveries. `cause` counts only where the caller is the system: a user is the cause itself.
-- Events with the same key wait here for each other's end, so that their ids are in the order of their commits.
create function platform.event_publish(publisher text, interface text, function text, key text, payload text,
  cause uuid, hops int, subscribers text[], token text) returns void
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  caller pg_catalog.text[];
  written pg_catalog.int8;
begin
  perform platform.ensure_writer(publisher, token);
  caller := platform.stated();
  if key is not null then
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(interface || '|' || key, 8));
  end if;
  insert into platform.event (publisher, interface, function, key, payload, cause, hops)
  values (event_publish.publisher, event_publish.interface, event_publish.function, event_publish.key,
          event_publish.payload,
          case caller[1] when 'user' then caller[2]::pg_catalog.uuid when 'system' then event_publish.cause end,
          event_publish.hops)
  returning id into written;
  insert into platform.delivery (event_id, subscriber, interface, key)
  select written, s, event_publish.interface, event_publish.key from pg_catalog.unnest(subscribers) s;
end $$;

-- Takes a delivery for this transaction: true when it is this session's subscriber's turn. It then counts as delivered
-- as soon as the transaction commits; until then nobody else can take it, nor any later one with its key.
create function platform.event_take(delivery bigint, subscriber text, token text) returns boolean
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  taken pg_catalog.int8;
begin
  perform platform.ensure_writer(subscriber, token);
  select d.id into taken from platform.delivery d
  where d.id = event_take.delivery and d.subscriber = event_take.subscriber and d.state = 'pending'
    and (d.key is null or not exists (
      select from platform.delivery earlier
      where earlier.subscriber = d.subscriber and earlier.interface = d.interface and earlier.key = d.key
        and earlier.id < d.id and earlier.state = 'pending'))
  for update skip locked;
  if taken is null then
    return false;
  end if;
  update platform.delivery d set state = 'delivered', delivered_at = pg_catalog.now(), failure = null where d.id = taken;
  return true;
end $$;

-- Takes the run of a schedule that is due at `due_s`, for this transaction; the next one is due at `next_s`.
create function platform.schedule_take(plugin text, function text, due_s bigint, next_s bigint, token text)
returns boolean
language plpgsql volatile parallel unsafe security definer set search_path = pg_catalog, pg_temp as $$
declare
  taken pg_catalog.text;
begin
  perform platform.ensure_writer(plugin, token);
  select s.function into taken from platform.schedule s
  where s.plugin = schedule_take.plugin and s.function = schedule_take.function and s.due_s = schedule_take.due_s
    and schedule_take.next_s > schedule_take.due_s
  for update skip locked;
  if taken is null then
    return false;
  end if;
  update platform.schedule s
  set due_s = schedule_take.next_s, ran_s = schedule_take.due_s, failures = 0, failure = null
  where s.plugin = schedule_take.plugin and s.function = schedule_take.function;
  return true;
end $$;

do $$
declare
  identity text := current_database() || '_identity';
  control text := current_database() || '_control';
  thing text;
begin
  foreach thing in array array['event', 'delivery', 'schedule'] loop
    execute format('alter table platform.%I owner to %I', thing, identity);
    execute format('revoke all on platform.%I from public', thing);
  end loop;
  foreach thing in array array[
    'ensure_writer(text, text)',
    'event_publish(text, text, text, text, text, uuid, int, text[], text)',
    'event_take(bigint, text, text)',
    'schedule_take(text, text, bigint, bigint, text)']
  loop
    execute format('alter function platform.%s owner to %I', thing, identity);
    execute format('revoke all on function platform.%s from public', thing);
  end loop;
  execute format('grant select, delete on platform.event to %I', control);
  execute format('grant select on platform.delivery to %I', control);
  execute format('grant update (state, attempts, due_at, failure) on platform.delivery to %I', control);
  execute format('grant select, insert, delete on platform.schedule to %I', control);
  execute format('grant update (cron, due_s, failures, failure) on platform.schedule to %I', control);
end $$;
