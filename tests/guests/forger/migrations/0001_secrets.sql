create table forger.secret (
    id uuid constraint secret_is_known primary key default gen_random_uuid(),
    owner_id uuid not null,
    words text not null constraint secret_words_fit check (char_length(words) <= 1000)
);

alter table forger.secret enable row level security, force row level security;
create policy secret_is_its_owners on forger.secret
    using (owner_id = (select platform.caller_id())) with check (owner_id = (select platform.caller_id()));
