-- Keep a secret for the caller.
-- returns: one
insert into forger.secret (owner_id, words) values (:caller, :words) returning id, owner_id
