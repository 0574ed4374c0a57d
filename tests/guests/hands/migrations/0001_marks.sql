create table hands.note (
    id uuid constraint note_is_known primary key default gen_random_uuid(),
    name text not null constraint note_name_fits check (char_length(name) <= 100),
    constraint note_name_is_taken unique (name)
);

alter table hands.note enable row level security, force row level security;
create policy note_is_for_anybody on hands.note
    using ((select platform.caller_kind()) is not null) with check ((select platform.caller_kind()) is not null);
