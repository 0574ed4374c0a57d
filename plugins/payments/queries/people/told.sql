-- The payments of an account's orders, oldest first, after a place in the list.
-- returns: many(20)
select p.order_id, p.state, p.currency, p.amount_cents, p.reason, p.created_at
from payments.payment p
where p.customer_id = :account and (p.created_at, p.order_id) > (:after_at, :after_id)
order by p.created_at, p.order_id
limit 20
