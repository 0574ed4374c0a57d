-- Change a section of a restaurant that is not closed.
-- returns: count
update restaurants.menu_section s
set name = :name, position = :position
from restaurants.restaurant r
where s.id = :id and s.restaurant_id = :restaurant_id and r.id = s.restaurant_id and r.closed_at is null
