-- The orders that an account placed, oldest first, after a place in the list.
-- returns: many(20)
select o.id, o.restaurant_name, o.state, o.currency, o.total_cents, o.note, o.placed_at
from ordering.customer_order o
where o.customer_id = :account and (o.placed_at, o.id) > (:after_at, :after_id)
order by o.placed_at, o.id
limit 20
