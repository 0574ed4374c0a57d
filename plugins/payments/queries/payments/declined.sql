-- The provider would not charge. No row when that was known.
-- returns: optional
update payments.payment p
set state = 'declined', reason = :reason, changed_at = now()
where p.order_id = :order_id and p.state in ('due', 'unwanted')
returning p.customer_id, p.owner_id, p.amount_cents, p.currency
