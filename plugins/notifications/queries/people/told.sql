-- The notices of an account, oldest first, after a place in the list.
-- returns: many(20)
select n.id, n.order_id, n.kind, n.title, n.body, n.created_at
from notifications.notice n
where n.recipient_id = :account and (n.created_at, n.id) > (:after_at, :after_id)
order by n.created_at, n.id
limit 20
