-- Every crumb.
-- returns: many(10)
select id from glutton.crumb limit 10
