-- How many crumbs there are.
-- returns: one
select count(*) as "crumbs!" from glutton.crumb
