-- What the platform tells a person of their payments, and empties when they leave. The policies of 0001 let it.

create index payment_by_customer on payments.payment (customer_id, created_at, order_id);

-- The provider's word about somebody's card.
comment on column payments.payment.reason is 'personal';
