-- Row policies. `platform.caller_id()` raises when no identity was assumed, so a session without one sees nothing.

alter table ordering.customer_order enable row level security, force row level security;
alter table ordering.order_line enable row level security, force row level security;

create policy order_is_seen_by_both_sides on ordering.customer_order for select
    using (customer_id = (select platform.caller_id())
           or (owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN')));

create policy order_is_placed_by_its_customer on ordering.customer_order for insert
    with check (customer_id = (select platform.caller_id()) and (select platform.caller_has('USER'))
                and state = 'placed');

-- Who may move an order, from where and to where. A policy sees the old row (using) and the new row (with check) but
-- never both, so it cannot say that `ready` follows `preparing` only: the pinned statement `orders/make_move.sql` holds
-- the edges. Nor can it pin columns: the plugin's role may update `state` and `changed_at` and nothing else. An account
-- that is both customer and owner of one order has both sides' moves.
create policy order_is_cancelled_by_its_customer on ordering.customer_order for update
    using (customer_id = (select platform.caller_id()) and (select platform.caller_has('USER')) and state = 'placed')
    with check (customer_id = (select platform.caller_id()) and state = 'cancelled');

create policy order_is_moved_by_the_owner on ordering.customer_order for update
    using (owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER'))
           and state in ('placed', 'accepted', 'preparing', 'ready'))
    with check (owner_id = (select platform.caller_id())
                and state in ('accepted', 'preparing', 'ready', 'completed', 'rejected'));

create policy order_is_moved_by_an_admin on ordering.customer_order for update
    using ((select platform.caller_has('ADMIN')) and state in ('placed', 'accepted', 'preparing', 'ready'))
    with check ((select platform.caller_has('ADMIN')) and state <> 'placed');

create policy order_line_is_seen_by_both_sides on ordering.order_line for select
    using (customer_id = (select platform.caller_id())
           or (owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN')));

-- Lines are written once: there is no policy to change or remove one.
create policy order_line_is_placed_by_the_customer on ordering.order_line for insert
    with check (customer_id = (select platform.caller_id()) and (select platform.caller_has('USER')));
