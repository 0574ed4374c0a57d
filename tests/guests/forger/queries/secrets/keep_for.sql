-- Keep a secret for somebody whom the plugin names; the row policy must refuse all but the caller.
-- returns: one
insert into forger.secret (owner_id, words) values (:caller_id, :words) returning id, owner_id
