-- One restaurant, and whether its hours say that it is open now.
-- An opening is a stretch of the week's 10080 minutes: it holds now when fewer minutes have passed since its beginning
-- than it lasts, counted around the end of the week.
-- returns: optional
select r.id, r.name, r.cuisine, r.description, r.address, r.currency, r.time_zone, r.accepting_orders,
       r.created_at, r.closed_at,
       exists (
    select 1 from restaurants.opening o,
                (select now() at time zone r.time_zone as wall) t
    where o.restaurant_id = r.id
      and mod((extract(isodow from t.wall)::int4 - o.weekday + 7) * 1440
              + extract(hour from t.wall)::int4 * 60 + extract(minute from t.wall)::int4 - o.opens_minute, 10080)
          < o.closes_minute - o.opens_minute) as "open_now!"
from restaurants.restaurant r
where r.id = :id
