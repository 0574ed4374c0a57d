-- Count the notes.
-- returns: one
select count(*) as "notes!" from hands.note
