-- Write a saying down.
-- returns: count
insert into listener.heard (topic, number, cause, kind, actor)
values (:topic, :number, :cause, (select platform.caller_kind()), :caller)
