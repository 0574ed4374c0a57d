-- How the caller stands to an order: asked only to say why a move was refused.
-- returns: optional
select o.state,
       o.customer_id = :caller or platform.caller_has('ADMIN') as "is_customer!",
       o.owner_id = :caller or platform.caller_has('ADMIN') as "is_owner!"
from ordering.customer_order o
where o.id = :id
