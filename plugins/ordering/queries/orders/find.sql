-- One order; the row policy hides it from all but its customer, the restaurant's owner and ADMIN.
-- returns: optional
select o.id, o.restaurant_id, o.restaurant_name, o.state, o.currency, o.total_cents, o.note, o.placed_at, o.changed_at
from ordering.customer_order o
where o.id = :id
