-- How many orders of an account stay in the books.
-- returns: one
select count(*) as "orders!" from ordering.customer_order o where o.customer_id = :account
