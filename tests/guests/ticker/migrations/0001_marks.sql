create table ticker.mark (
    seq bigint generated always as identity constraint mark_is_known primary key,
    kind text not null constraint mark_kind_fits check (char_length(kind) <= 9)
);
alter table ticker.mark enable row level security, force row level security;
create policy mark_is_for_anybody on ticker.mark
    using ((select platform.caller_kind()) is not null) with check ((select platform.caller_kind()) is not null);
