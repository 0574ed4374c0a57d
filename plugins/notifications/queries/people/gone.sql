-- From now on nothing is written for this account.
-- returns: count
insert into notifications.gone (account_id) values (:account) on conflict (account_id) do nothing
