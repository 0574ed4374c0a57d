-- These are asked now.
-- returns: count
update payments.payment set asked_at = now() where order_id = any(:order_ids::uuid[])
