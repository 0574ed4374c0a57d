-- Count the notes.
-- returns: one
select count(*) as "notes!" from elder.note
