-- What was heard of a topic, in the order in which it was.
-- returns: many(100)
select h.number from listener.heard h where h.topic = :topic order by h.seq limit 100
