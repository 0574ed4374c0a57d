-- Read the secrets of somebody whom the plugin names; the row policy must hide all but the caller's.
-- returns: many(10)
select s.id, s.words from forger.secret s where s.owner_id = :caller_id order by s.id limit 10
