create table trap.mark (
    id uuid constraint mark_is_known primary key default gen_random_uuid(),
    name text not null constraint mark_name_fits check (char_length(name) <= 100),
    constraint mark_name_is_taken unique (name)
);

alter table trap.mark enable row level security, force row level security;
create policy mark_is_for_anybody on trap.mark
    using ((select platform.caller_kind()) is not null) with check ((select platform.caller_kind()) is not null);
