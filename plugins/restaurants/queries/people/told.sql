-- The restaurants of an account, after one of them.
-- returns: many(20)
select r.id, r.name, r.address, r.description, r.created_at
from restaurants.restaurant r
where r.owner_id = :account and r.id > :after_id
order by r.id
limit 20
