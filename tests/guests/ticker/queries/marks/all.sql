-- The marks there are.
-- returns: many(100)
select m.kind from ticker.mark m order by m.seq limit 100
