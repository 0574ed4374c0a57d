-- What nobody took in time is not sent any more.
-- returns: count
update notifications.notice set state = 'expired', settled_at = now() where state = 'waiting' and send_until <= now()
