-- The openings of a restaurant; one row without an opening when it has none.
-- returns: many(21)
select r.time_zone, o.weekday as "weekday?", o.opens_minute as "opens_minute?", o.closes_minute as "closes_minute?"
from restaurants.restaurant r
left join restaurants.opening o on o.restaurant_id = r.id
where r.id = :restaurant_id
order by o.weekday, o.opens_minute
limit 21
