-- What somebody is to be told, once for each order, person and kind of news; and what became of it at the gateway.
--
--     waiting ──▶ sent        the gateway took it
--        │ └────▶ refused     it never will: nobody is there, or not for such a message
--        └──────▶ expired     nobody took it in time
--
-- A row is written when its news is heard, before the gateway hears of it, and moved when the gateway's answer is known.
-- What is to be sent waits in the platform's outbox meanwhile. The row's id is the idempotency key, and a gateway keeps keys
-- for a day: so nothing is asked of it after `send_until`, when a repetition could be taken for something new.

create type notifications.notice_state as enum ('waiting', 'sent', 'refused', 'expired');

create table notifications.notice (
    id uuid constraint notice_is_known primary key default gen_random_uuid(),
    recipient_id uuid not null,
    order_id uuid not null,
    -- The template's name.
    kind text not null constraint notice_kind_fits check (char_length(kind) <= 50),
    title text not null constraint notice_title_fits check (char_length(title) <= 200),
    body text not null constraint notice_body_fits check (char_length(body) <= 2000),
    state notifications.notice_state not null default 'waiting',
    created_at timestamptz not null default now(),
    send_until timestamptz not null default now() + interval '12 hours',
    -- When the gateway was last to be asked.
    asked_at timestamptz not null default now(),
    -- When it was no longer waiting.
    settled_at timestamptz,
    constraint notice_is_told_once unique (order_id, recipient_id, kind),
    constraint notice_waits_or_is_settled check ((state = 'waiting') = (settled_at is null))
);

create index notice_by_recipient on notifications.notice (recipient_id, created_at, id);
create index notice_by_asking on notifications.notice (asked_at) where state = 'waiting';

-- People read their own, whatever their role; only the platform writes: an event, a schedule, never a request.
alter table notifications.notice enable row level security, force row level security;

create policy notice_is_read_by_its_recipient on notifications.notice for select
    using (recipient_id = (select platform.caller_id())
           or (select platform.caller_kind()) = 'system');

create policy notice_is_written_by_the_platform on notifications.notice for insert
    with check ((select platform.caller_kind()) = 'system');

create policy notice_is_settled_by_the_platform on notifications.notice for update
    using ((select platform.caller_kind()) = 'system')
    with check ((select platform.caller_kind()) = 'system');
