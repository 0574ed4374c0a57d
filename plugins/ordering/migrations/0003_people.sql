-- What the platform itself may see and change, for a person who asks what is kept about them, or leaves. A user never is
-- `system`, so none of this is anybody else's. From here on the plugin's login may also update `note`.

create policy order_is_told_by_the_platform on ordering.customer_order for select
    using ((select platform.caller_kind()) = 'system');
create policy order_line_is_told_by_the_platform on ordering.order_line for select
    using ((select platform.caller_kind()) = 'system');

-- Their words go, and what no restaurant has accepted yet comes to nothing; the order itself is in the books.
create policy order_is_emptied_by_the_platform on ordering.customer_order for update
    using ((select platform.caller_kind()) = 'system')
    with check ((select platform.caller_kind()) = 'system' and state <> 'placed');

-- Orders that wait for an owner who leaves.
create index order_waits_for_owner on ordering.customer_order (owner_id) where state = 'placed';

comment on column ordering.customer_order.note is 'personal';
