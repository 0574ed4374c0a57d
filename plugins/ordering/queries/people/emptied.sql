-- Take an account's words out of its orders, and back what no restaurant has accepted.
-- returns: count
update ordering.customer_order
set note = null, changed_at = now(),
    state = case when state = 'placed' then 'cancelled'::ordering.order_state else state end
where customer_id = :account and (note is not null or state = 'placed')
