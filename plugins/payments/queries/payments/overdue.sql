-- What the provider was to be asked an hour ago and nobody answered.
-- returns: many(50)
select p.order_id, p.state, p.amount_cents, p.currency, p.charge_id
from payments.payment p
where p.state in ('due', 'unwanted', 'refunding') and p.asked_at < now() - interval '1 hour'
order by p.asked_at
limit 50
