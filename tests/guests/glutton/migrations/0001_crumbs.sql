create table glutton.crumb (
    id integer constraint crumb_is_known primary key,
    word text not null default '' constraint crumb_word_fits check (char_length(word) <= 2000)
);

alter table glutton.crumb enable row level security, force row level security;
create policy crumb_is_for_anybody on glutton.crumb
    using ((select platform.caller_kind()) is not null) with check ((select platform.caller_kind()) is not null);
