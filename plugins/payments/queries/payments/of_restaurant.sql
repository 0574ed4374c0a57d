-- The payments of a restaurant's orders, newest first, before a place in the list; only those that the caller sees as owner
-- or ADMIN.
-- returns: many(51)
select p.order_id, p.restaurant_id, p.state, p.currency, p.amount_cents, p.reason, p.created_at, p.changed_at
from payments.payment p
where p.restaurant_id = :restaurant_id
  and (p.owner_id = :caller or (select platform.caller_has('ADMIN')))
  and (p.created_at, p.order_id) < (:before_at, :before_id)
order by p.created_at desc, p.order_id desc
limit least(:rows, 51)
