create table elder.note (
    id uuid constraint note_is_known primary key default gen_random_uuid(),
    words text not null constraint note_words_fit check (char_length(words) <= 100)
);

alter table elder.note enable row level security, force row level security;
create policy note_is_for_anybody on elder.note
    using ((select platform.caller_kind()) is not null) with check ((select platform.caller_kind()) is not null);
