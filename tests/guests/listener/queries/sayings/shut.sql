-- Whether a topic is not heard.
-- returns: optional
select c.topic from listener.closed c where c.topic = :topic
