-- Take a note.
-- returns: count
insert into elder.note (words) values (:words)
