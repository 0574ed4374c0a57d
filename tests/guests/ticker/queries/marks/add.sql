-- Leave a mark.
-- returns: count
insert into ticker.mark (kind) values ((select platform.caller_kind()))
