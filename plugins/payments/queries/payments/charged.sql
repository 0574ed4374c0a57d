-- The provider charged. Money that is not wanted any more goes back at once. No row when that was known.
-- returns: optional
update payments.payment p
set state = case when p.state = 'unwanted' then 'refunding'::payments.payment_state else 'charged'::payments.payment_state end,
    charge_id = :charge_id, changed_at = now(), asked_at = now()
where p.order_id = :order_id and p.state in ('due', 'unwanted')
returning p.state, p.customer_id, p.owner_id, p.amount_cents, p.currency
