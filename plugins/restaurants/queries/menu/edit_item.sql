-- Change an item of a restaurant that is not closed.
-- returns: count
update restaurants.menu_item i
set section_id = :section_id, name = :name, description = :description?, price_cents = :price_cents,
    available = :available
from restaurants.restaurant r
where i.id = :id and i.restaurant_id = :restaurant_id and r.id = i.restaurant_id and r.closed_at is null
