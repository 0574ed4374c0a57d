-- What somebody is to be told, once for each order, person and kind of news; and whether the gateway took it.

create table notifications.notice (
    id uuid constraint notice_is_known primary key default gen_random_uuid(),
    recipient_id uuid not null,
    order_id uuid not null,
    -- The template's name.
    kind text not null constraint notice_kind_fits check (char_length(kind) <= 50),
    title text not null constraint notice_title_fits check (char_length(title) <= 200),
    body text not null constraint notice_body_fits check (char_length(body) <= 2000),
    created_at timestamptz not null default now(),
    -- When the gateway was last to be asked.
    asked_at timestamptz not null default now(),
    sent_at timestamptz,
    constraint notice_is_told_once unique (order_id, recipient_id, kind)
);

create index notice_by_recipient on notifications.notice (recipient_id, created_at, id);
create index notice_by_asking on notifications.notice (asked_at) where sent_at is null;

-- Everybody reads their own; only the platform writes: an event, a schedule, never a request.
alter table notifications.notice enable row level security, force row level security;

create policy notice_is_read_by_its_recipient on notifications.notice for select
    using (recipient_id = (select platform.caller_id())
           or (select platform.caller_has('ADMIN'))
           or (select platform.caller_kind()) = 'system');

create policy notice_is_written_by_the_platform on notifications.notice for insert
    with check ((select platform.caller_kind()) = 'system');

create policy notice_is_sent_by_the_platform on notifications.notice for update
    using ((select platform.caller_kind()) = 'system')
    with check ((select platform.caller_kind()) = 'system');
