-- The caller's own orders, newest first, before a place in the list; no state means any.
-- returns: many(51)
select o.id, o.restaurant_id, o.restaurant_name, o.state, o.currency, o.total_cents, o.placed_at, o.changed_at
from ordering.customer_order o
where o.customer_id = :caller
  and o.placed_at >= :since and o.placed_at < :until
  and (o.placed_at, o.id) < (:before_at, :before_id)
  and (:state?::ordering.order_state is null or o.state = :state?)
order by o.placed_at desc, o.id desc
limit least(:rows, 51)
