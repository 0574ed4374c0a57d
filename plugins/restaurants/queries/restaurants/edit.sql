-- Change a restaurant that is not closed; the row policy lets its owner and ADMIN.
-- returns: count
update restaurants.restaurant
set name = :name, cuisine = :cuisine, description = :description?, address = :address, time_zone = :time_zone,
    accepting_orders = :accepting_orders, changed_at = now()
where id = :id and closed_at is null
