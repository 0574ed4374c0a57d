-- The gateway took it or never will, or it is too late. No change when that was known.
-- returns: count
update notifications.notice set state = :state, settled_at = now() where id = :id and state = 'waiting'
