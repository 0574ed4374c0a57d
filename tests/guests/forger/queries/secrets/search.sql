-- Read the caller's secrets with these words.
-- returns: many(10)
select s.id, s.words from forger.secret s where s.owner_id = :caller and s.words = :words order by s.id limit 10
