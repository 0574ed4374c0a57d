create table listener.heard (
    seq bigint generated always as identity constraint heard_is_known primary key,
    topic text not null constraint heard_topic_fits check (char_length(topic) <= 100),
    number integer not null,
    -- Who was behind it, by the host's word.
    cause text not null constraint heard_cause_fits check (char_length(cause) <= 36),
    -- As whom the transaction acted.
    kind text not null constraint heard_kind_fits check (char_length(kind) <= 9),
    actor uuid not null
);
create table listener.tally (
    topic text constraint tally_is_known primary key constraint tally_topic_fits check (char_length(topic) <= 100),
    heard integer not null
);
-- A topic that stands here is not heard.
create table listener.closed (
    topic text constraint closed_is_known primary key constraint closed_topic_fits check (char_length(topic) <= 100)
);

alter table listener.heard enable row level security, force row level security;
create policy heard_is_the_systems on listener.heard for insert with check ((select platform.caller_kind()) = 'system');
create policy heard_is_for_anybody on listener.heard for select using ((select platform.caller_kind()) is not null);
alter table listener.tally enable row level security, force row level security;
create policy tally_is_the_systems on listener.tally
    using ((select platform.caller_kind()) = 'system') with check ((select platform.caller_kind()) = 'system');
alter table listener.closed enable row level security, force row level security;
create policy closed_is_the_systems on listener.closed for select using ((select platform.caller_kind()) = 'system');
