-- Add a section to a restaurant that is not closed and has fewer than 50.
-- returns: one
insert into restaurants.menu_section (restaurant_id, owner_id, name, position)
select r.id, r.owner_id, :name, :position
from restaurants.restaurant r
where r.id = :restaurant_id and r.closed_at is null
  and (select count(*) from restaurants.menu_section s where s.restaurant_id = r.id) < 50
returning id
