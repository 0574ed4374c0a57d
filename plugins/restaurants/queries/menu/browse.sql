-- A whole menu, section by section; a section without items is one row without an item, as is an empty menu.
-- returns: many(400)
select r.id as restaurant_id, r.currency,
       s.id as "section_id?", s.name as "section_name?", s.position as "position?",
       i.id as "item_id?", i.name as "item_name?", i.description as "description?",
       i.price_cents as "price_cents?", i.available as "available?"
from restaurants.restaurant r
left join restaurants.menu_section s on s.restaurant_id = r.id
left join restaurants.menu_item i on i.section_id = s.id
where r.id = :restaurant_id
order by s.position, s.name, i.name
limit 400
