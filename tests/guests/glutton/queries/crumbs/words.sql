-- Every crumb's word.
-- returns: many(10)
select word from glutton.crumb limit 10
