-- The gateway took it.
-- returns: count
update notifications.notice set sent_at = now() where id = :id and sent_at is null
