-- Take an account's words out of its orders.
-- returns: count
update ordering.customer_order set note = null, changed_at = now()
where customer_id = :account and note is not null and state <> 'placed'
