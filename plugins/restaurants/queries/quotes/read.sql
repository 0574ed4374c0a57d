-- A restaurant and some of its items, for another plugin; one row without an item when none is on the menu.
-- returns: many(50)
select r.id, r.name, r.owner_id, r.currency,
       r.accepting_orders and r.closed_at is null as "accepting!",
       exists (
    select 1 from restaurants.opening o,
                (select now() at time zone r.time_zone as wall) t
    where o.restaurant_id = r.id
      and mod((extract(isodow from t.wall)::int4 - o.weekday + 7) * 1440
              + extract(hour from t.wall)::int4 * 60 + extract(minute from t.wall)::int4 - o.opens_minute, 10080)
          < o.closes_minute - o.opens_minute) as "open_now!",
       i.id as "item_id?", i.name as "item_name?", i.price_cents as "price_cents?", i.available as "available?"
from restaurants.restaurant r
left join restaurants.menu_item i on i.restaurant_id = r.id and i.id = any (:item_ids)
where r.id = :restaurant_id
limit 50
