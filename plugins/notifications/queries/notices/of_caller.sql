-- The caller's own notices, newest first, before a place in the list.
-- returns: many(51)
select n.id, n.order_id, n.kind, n.title, n.body, n.state, n.created_at, n.settled_at
from notifications.notice n
where n.recipient_id = :caller and (n.created_at, n.id) < (:before_at, :before_id)
order by n.created_at desc, n.id desc
limit least(:rows, 51)
