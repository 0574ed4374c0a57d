-- Take the provider's words about an account out of its payments.
-- returns: count
update payments.payment set reason = null, changed_at = now() where customer_id = :account and reason is not null
