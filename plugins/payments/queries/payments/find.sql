-- The payment of an order; the row policy hides it from all but both sides and ADMIN.
-- returns: optional
select p.order_id, p.restaurant_id, p.state, p.currency, p.amount_cents, p.reason, p.created_at, p.changed_at
from payments.payment p
where p.order_id = :order_id
