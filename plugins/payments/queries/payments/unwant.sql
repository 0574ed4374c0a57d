-- The order came to nothing: what was charged goes back, what is due is not wanted. An order that was never heard of is
-- written down as unwanted, so that it is not charged should it be told of late. No row when there is nothing to change.
-- returns: optional
insert into payments.payment as p (order_id, customer_id, owner_id, restaurant_id, amount_cents, currency, state)
values (:order_id, :customer_id, :owner_id, :restaurant_id, :amount_cents, :currency, 'unwanted')
on conflict (order_id) do update
set state = case when p.state = 'charged' then 'refunding'::payments.payment_state else 'unwanted'::payments.payment_state end,
    changed_at = now(), asked_at = case when p.state = 'charged' then now() else p.asked_at end
where p.state in ('due', 'charged')
returning p.state, p.charge_id
