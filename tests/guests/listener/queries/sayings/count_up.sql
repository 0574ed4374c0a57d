-- Count a saying.
-- returns: count
insert into listener.tally as known (topic, heard) values (:topic, 1)
on conflict (topic) do update set heard = known.heard + 1
