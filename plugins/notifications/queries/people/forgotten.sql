-- Forget the notices of an account.
-- returns: count
delete from notifications.notice where recipient_id = :account
