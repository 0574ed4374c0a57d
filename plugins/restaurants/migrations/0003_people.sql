-- What the platform itself may see and change, for a person who asks what is kept about them, or leaves. A user never is
-- `system`, so none of this is anybody else's.

create policy restaurant_is_told_by_the_platform on restaurants.restaurant for select
    using ((select platform.caller_kind()) = 'system');

-- Without its owner a restaurant is closed.
create policy restaurant_is_closed_by_the_platform on restaurants.restaurant for update
    using ((select platform.caller_kind()) = 'system')
    with check ((select platform.caller_kind()) = 'system' and closed_at is not null and description is null
                and address = '');

create index restaurant_by_owner on restaurants.restaurant (owner_id, id);

comment on column restaurants.restaurant.description is 'personal';
comment on column restaurants.restaurant.address is 'personal';
