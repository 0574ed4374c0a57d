-- What the first version writes is plain: it knows of no kinds.
alter table elder.note
    add column kind text not null default 'plain' constraint note_kind_fits check (char_length(kind) <= 20);
