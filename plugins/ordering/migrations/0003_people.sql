-- What the platform itself may see and change, for a person who asks what is kept about them, or leaves. A user never is
-- `system`, so none of this is anybody else's.

create policy order_is_told_by_the_platform on ordering.customer_order for select
    using ((select platform.caller_kind()) = 'system');

-- Their words go, and what no restaurant has accepted yet; the order itself is in the books.
create policy order_is_emptied_by_the_platform on ordering.customer_order for update
    using ((select platform.caller_kind()) = 'system')
    with check ((select platform.caller_kind()) = 'system' and note is null and state <> 'placed');

comment on column ordering.customer_order.note is 'personal';
