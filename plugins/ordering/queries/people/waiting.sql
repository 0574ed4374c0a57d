-- How many orders of an account, as customer or owner, nobody accepted yet.
-- returns: one
select count(*) as "orders!" from ordering.customer_order o
where o.state = 'placed' and (o.customer_id = :account or o.owner_id = :account)
