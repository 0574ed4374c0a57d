-- Restaurants by name, after a place in the list. An empty text, no cuisine and false leave nothing out.
-- returns: many(51)
select r.id, r.name, r.cuisine, r.address, r.currency, r.accepting_orders, h.open_now as "open_now!"
from restaurants.restaurant r
cross join lateral (select exists (
      select 1 from restaurants.opening o,
                  (select now() at time zone r.time_zone as wall) t
      where o.restaurant_id = r.id
        and mod((extract(isodow from t.wall)::int4 - o.weekday + 7) * 1440
                + extract(hour from t.wall)::int4 * 60 + extract(minute from t.wall)::int4 - o.opens_minute, 10080)
            < o.closes_minute - o.opens_minute) as open_now) h
where r.closed_at is null
  and (r.name, r.id) > (:after_name, :after_id)
  and (:cuisine?::restaurants.cuisine is null or r.cuisine = :cuisine?)
  and (:text = '' or position(lower(:text) in lower(r.name)) > 0
       or position(lower(:text) in lower(r.description)) > 0)
  and (:only_open = false or h.open_now)
order by r.name, r.id
limit least(:rows, 51)
