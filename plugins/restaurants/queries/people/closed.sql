-- Close the restaurants of an account that leaves; where they were and what their owner said of them goes.
-- returns: count
update restaurants.restaurant
set closed_at = coalesce(closed_at, now()), accepting_orders = false, description = null, address = '', changed_at = now()
where owner_id = :account and (closed_at is null or description is not null or address <> '')
