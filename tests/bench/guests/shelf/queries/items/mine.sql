-- The caller's first fifty items.
-- returns: many(50)
select i.id, i.name, i.price_cents, i.quantity, i.available
from shelf.item i
where i.owner_id = :caller
order by i.id
limit 50
