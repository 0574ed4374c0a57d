-- Add openings, given column by column.
-- returns: count
insert into restaurants.opening (restaurant_id, owner_id, weekday, opens_minute, closes_minute)
select r.id, r.owner_id, o.weekday, o.opens_minute, o.closes_minute
from restaurants.restaurant r
cross join unnest(:weekdays::int2[], :opens_minutes::int4[], :closes_minutes::int4[])
    as o (weekday, opens_minute, closes_minute)
where r.id = :restaurant_id and r.closed_at is null
