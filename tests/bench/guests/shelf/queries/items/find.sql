-- One item of the caller's.
-- returns: optional
select i.id, i.name, i.price_cents, i.quantity, i.available from shelf.item i where i.id = :id
