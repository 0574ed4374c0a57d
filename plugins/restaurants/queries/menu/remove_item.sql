-- Remove an item of a restaurant that is not closed.
-- returns: count
delete from restaurants.menu_item i
using restaurants.restaurant r
where i.id = :id and i.restaurant_id = :restaurant_id and r.id = i.restaurant_id and r.closed_at is null
