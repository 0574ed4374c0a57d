-- These are asked for now.
-- returns: count
update notifications.notice set asked_at = now() where id = any(:ids::uuid[])
