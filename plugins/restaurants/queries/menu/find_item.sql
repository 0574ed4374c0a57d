-- One item of a restaurant that the caller may see.
-- returns: optional
select i.id, i.section_id, i.name, i.description, i.price_cents, i.available
from restaurants.menu_item i
join restaurants.restaurant r on r.id = i.restaurant_id
where i.id = :id and i.restaurant_id = :restaurant_id
