-- The lines of an order that the caller may see.
-- returns: many(50)
select l.menu_item_id, l.name, l.quantity, l.price_cents
from ordering.order_line l
where l.order_id = :order_id
order by l.position
limit 50
