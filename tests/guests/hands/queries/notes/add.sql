-- Leave a note.
-- returns: count
insert into hands.note (name) values (:name)
