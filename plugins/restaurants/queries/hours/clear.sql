-- Forget the openings of a restaurant.
-- returns: count
delete from restaurants.opening where restaurant_id = :restaurant_id
