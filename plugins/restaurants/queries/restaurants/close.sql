-- Close a restaurant for good.
-- returns: count
update restaurants.restaurant
set closed_at = now(), accepting_orders = false, changed_at = now()
where id = :id and closed_at is null
