-- Mark a restaurant that is not closed as changed; of two writers of its hours the second waits here for the first.
-- returns: count
update restaurants.restaurant set changed_at = now() where id = :id and closed_at is null
