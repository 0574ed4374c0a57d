-- Remove a section of a restaurant that is not closed; one with items stays, by `menu_item_has_a_section`.
-- returns: count
delete from restaurants.menu_section s
using restaurants.restaurant r
where s.id = :id and s.restaurant_id = :restaurant_id and r.id = s.restaurant_id and r.closed_at is null
