-- Notices go with their recipient. What happens to their orders afterwards (they are cancelled, and paid back) is news to
-- nobody: who left is remembered by an id that names nobody, and nothing is written for it any more.

create table notifications.gone (
    account_id uuid constraint gone_is_known primary key,
    left_at timestamptz not null default now()
);
alter table notifications.gone enable row level security, force row level security;

create policy gone_is_read_by_the_platform on notifications.gone for select
    using ((select platform.caller_kind()) = 'system');
create policy gone_is_written_by_the_platform on notifications.gone for insert
    with check ((select platform.caller_kind()) = 'system');

create policy notice_is_forgotten_by_the_platform on notifications.notice for delete
    using ((select platform.caller_kind()) = 'system');

comment on column notifications.notice.title is 'personal';
comment on column notifications.notice.body is 'personal';
