-- The lines of an account's orders, order by order, after one of them.
-- returns: many(80)
select l.order_id, l.position, l.name, l.quantity, l.price_cents
from ordering.customer_order o
join ordering.order_line l on l.order_id = o.id
where o.customer_id = :account and (l.order_id, l.position) > (:after_id, :after_position)
order by l.order_id, l.position
limit 80
