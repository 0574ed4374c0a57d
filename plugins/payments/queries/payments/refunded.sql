-- The provider gave the money back. No row when that was known.
-- returns: optional
update payments.payment p
set state = 'refunded', refund_id = :refund_id, changed_at = now()
where p.order_id = :order_id and p.state = 'refunding'
returning p.customer_id, p.owner_id, p.amount_cents, p.currency
