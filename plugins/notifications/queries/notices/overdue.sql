-- What was to be sent an hour ago and nobody took.
-- returns: many(50)
select n.id, n.recipient_id, n.title, n.body
from notifications.notice n
where n.sent_at is null and n.asked_at < now() - interval '1 hour'
order by n.asked_at
limit 50
