-- Take a note of a kind.
-- returns: count
insert into elder.note (words, kind) values (:words, :kind)
