-- How many restaurants of an account stay, closed.
-- returns: one
select count(*) as "restaurants!" from restaurants.restaurant r where r.owner_id = :account
