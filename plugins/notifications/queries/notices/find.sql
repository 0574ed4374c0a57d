-- One notice of the caller's own.
-- returns: optional
select n.id, n.order_id, n.kind, n.title, n.body, n.state, n.created_at, n.settled_at
from notifications.notice n
where n.id = :id and n.recipient_id = :caller
