-- Add an item to a restaurant that is not closed and has fewer than 300.
-- returns: one
insert into restaurants.menu_item (restaurant_id, owner_id, section_id, name, description, price_cents, available)
select r.id, r.owner_id, :section_id, :name, :description?, :price_cents, :available
from restaurants.restaurant r
where r.id = :restaurant_id and r.closed_at is null
  and (select count(*) from restaurants.menu_item i where i.restaurant_id = r.id) < 300
returning id
