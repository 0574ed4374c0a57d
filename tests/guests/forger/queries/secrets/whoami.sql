-- Say who calls, as the host bound it and as the database knows it.
-- returns: one
select :caller::uuid as "bound!", platform.caller_id() as "known!", platform.caller_kind() as "kind!"
