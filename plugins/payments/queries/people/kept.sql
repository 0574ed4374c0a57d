-- How many payments of an account stay in the books.
-- returns: one
select count(*) as "payments!" from payments.payment p where p.customer_id = :account
