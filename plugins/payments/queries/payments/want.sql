-- Want an order's money; nothing when the order is known, also when it is known to have come to nothing.
-- returns: count
insert into payments.payment (order_id, customer_id, owner_id, restaurant_id, amount_cents, currency, asked_at)
values (:order_id, :customer_id, :owner_id, :restaurant_id, :amount_cents, :currency, now())
on conflict (order_id) do nothing
