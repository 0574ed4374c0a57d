-- The orders of a restaurant, newest first, before a place in the list; no state means any. Only those that the caller
-- sees as owner or ADMIN: one placed there by a rival's account is not the rival's to list.
-- returns: many(51)
select o.id, o.restaurant_id, o.restaurant_name, o.state, o.currency, o.total_cents, o.placed_at, o.changed_at
from ordering.customer_order o
where o.restaurant_id = :restaurant_id
  and (o.owner_id = :caller or (select platform.caller_has('ADMIN')))
  and (o.placed_at, o.id) < (:before_at, :before_id)
  and (:state?::ordering.order_state is null or o.state = :state?)
order by o.placed_at desc, o.id desc
limit least(:rows, 51)
