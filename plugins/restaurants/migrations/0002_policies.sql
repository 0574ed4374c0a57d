-- Row policies. `platform.caller_id()` raises when no identity was assumed, so a session without one sees nothing.

alter table restaurants.restaurant enable row level security, force row level security;
alter table restaurants.opening enable row level security, force row level security;
alter table restaurants.menu_section enable row level security, force row level security;
alter table restaurants.menu_item enable row level security, force row level security;

create policy restaurant_is_seen_while_open_or_own on restaurants.restaurant for select
    using ((closed_at is null and (select platform.caller_kind()) is not null)
           or owner_id = (select platform.caller_id())
           or (select platform.caller_has('ADMIN')));

create policy restaurant_is_opened_by_its_owner on restaurants.restaurant for insert
    with check (owner_id = (select platform.caller_id())
                and ((select platform.caller_has('RESTAURANT_OWNER')) or (select platform.caller_has('ADMIN'))));

-- The rows that may be changed and the rows they may become: a restaurant cannot be given away.
create policy restaurant_is_changed_by_its_owner on restaurants.restaurant for update
    using ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN')));

-- Hours and menus are public: whoever has an identity at all, anonymous included, reads them. The statements join the
-- restaurant, whose policy hides a closed one.
create policy opening_is_public on restaurants.opening for select
    using ((select platform.caller_kind()) is not null);
create policy menu_section_is_public on restaurants.menu_section for select
    using ((select platform.caller_kind()) is not null);
create policy menu_item_is_public on restaurants.menu_item for select
    using ((select platform.caller_kind()) is not null);

create policy opening_is_added_by_the_owner on restaurants.opening for insert
    with check ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
                or (select platform.caller_has('ADMIN')));
create policy opening_is_removed_by_the_owner on restaurants.opening for delete
    using ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN')));

create policy menu_section_is_added_by_the_owner on restaurants.menu_section for insert
    with check ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
                or (select platform.caller_has('ADMIN')));
create policy menu_section_is_changed_by_the_owner on restaurants.menu_section for update
    using ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN')));
create policy menu_section_is_removed_by_the_owner on restaurants.menu_section for delete
    using ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN')));

create policy menu_item_is_added_by_the_owner on restaurants.menu_item for insert
    with check ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
                or (select platform.caller_has('ADMIN')));
create policy menu_item_is_changed_by_the_owner on restaurants.menu_item for update
    using ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN')));
create policy menu_item_is_removed_by_the_owner on restaurants.menu_item for delete
    using ((owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN')));
