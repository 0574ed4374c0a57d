-- Count the notes of a kind.
-- returns: one
select count(*) as "notes!" from elder.note n where n.kind = :kind
