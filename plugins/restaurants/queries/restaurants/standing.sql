-- How the caller stands to a restaurant: asked only to say why a change was refused.
-- returns: optional
select r.closed_at is not null as "closed!",
       r.owner_id = :caller or platform.caller_has('ADMIN') as "managed!"
from restaurants.restaurant r
where r.id = :id
