-- Cancel one order that an account placed, or that waits for it as the owner of the restaurant, and that nobody accepted yet.
-- returns: optional
update ordering.customer_order o
set state = 'cancelled', changed_at = now()
where o.state = 'placed' and o.id = (
    select waiting.id from ordering.customer_order waiting
    where waiting.state = 'placed' and (waiting.customer_id = :account or waiting.owner_id = :account)
    order by waiting.id limit 1)
returning o.id, o.customer_id, o.owner_id, o.restaurant_id, o.restaurant_name, o.currency, o.total_cents
