-- Open a restaurant that the caller owns.
-- returns: one
insert into restaurants.restaurant (owner_id, name, cuisine, description, address, currency, time_zone)
values (:caller, :name, :cuisine, :description?, :address, :currency, :time_zone)
returning id, created_at
