-- What was to be sent an hour ago, nobody took, and may still be sent.
-- returns: many(50)
select n.id, n.recipient_id, n.order_id, n.title, n.body, n.send_until
from notifications.notice n
where n.state = 'waiting' and n.asked_at < now() - interval '1 hour' and n.send_until > now()
order by n.asked_at
limit 50
