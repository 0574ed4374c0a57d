-- Leave a mark.
-- returns: count
insert into trap.mark (name) values (:name)
