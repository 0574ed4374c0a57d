-- Count the marks.
-- returns: one
select count(*) as "marks!" from trap.mark
