-- Place an order for the caller, with its lines given column by column in their order.
-- returns: one
with placed as (
    insert into ordering.customer_order (customer_id, owner_id, restaurant_id, restaurant_name, currency, note, total_cents)
    values (:caller, :owner_id, :restaurant_id, :restaurant_name, :currency, :note?, :total_cents)
    returning id, customer_id, owner_id, placed_at
), lined as (
    insert into ordering.order_line (order_id, customer_id, owner_id, position, menu_item_id, name, quantity, price_cents)
    select p.id, p.customer_id, p.owner_id, l.position, l.menu_item_id, l.name, l.quantity, l.price_cents
    from placed p
    cross join unnest(:positions::int4[], :menu_item_ids::uuid[], :names::text[], :quantities::int4[], :prices_cents::int8[])
        as l (position, menu_item_id, name, quantity, price_cents)
)
select p.id as "id!", p.placed_at as "placed_at!" from placed p
