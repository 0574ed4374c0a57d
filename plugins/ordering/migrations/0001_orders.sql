-- Orders and their lines: what was wanted, at the price and under the name of that moment.
--
-- An order keeps the id of its restaurant's owner, as the restaurants plugin gave it, so that row policies can show it
-- to both sides. Lines carry both ids too, tied to their order by a foreign key, so that no policy reads another table
-- and a statement's grants are the whole of what it needs.

create type ordering.order_state as enum (
    'placed', 'accepted', 'preparing', 'ready', 'completed', 'rejected', 'cancelled'
);

create table ordering.customer_order (
    id uuid constraint order_is_known primary key default gen_random_uuid(),
    customer_id uuid not null,
    owner_id uuid not null,
    restaurant_id uuid not null,
    restaurant_name text not null constraint order_restaurant_name_fits check (char_length(restaurant_name) <= 100),
    currency text not null constraint order_currency_fits check (char_length(currency) <= 3),
    state ordering.order_state not null default 'placed',
    note text constraint order_note_fits check (char_length(note) <= 500),
    -- 50 lines of 99 items at 10 000 000 each.
    total_cents bigint not null
        constraint order_total_is_sane check (total_cents >= 0 and total_cents <= 49500000000),
    placed_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    constraint order_has_two_sides unique (id, customer_id, owner_id)
);

-- The order of each list and its cursor.
create index order_by_customer on ordering.customer_order (customer_id, placed_at, id);
create index order_by_restaurant on ordering.customer_order (restaurant_id, placed_at, id);

create table ordering.order_line (
    order_id uuid not null,
    customer_id uuid not null,
    owner_id uuid not null,
    -- 1 is the first.
    position integer not null constraint order_line_position_is_sane check (position >= 1 and position <= 50),
    menu_item_id uuid not null,
    name text not null constraint order_line_name_fits check (char_length(name) <= 100),
    quantity integer not null constraint order_line_quantity_is_sane check (quantity >= 1 and quantity <= 99),
    price_cents bigint not null
        constraint order_line_price_is_sane check (price_cents >= 0 and price_cents <= 10000000),
    constraint order_line_is_unique primary key (order_id, position),
    constraint order_line_item_is_ordered_twice unique (order_id, menu_item_id),
    constraint order_line_has_an_order
        foreign key (order_id, customer_id, owner_id)
        references ordering.customer_order (id, customer_id, owner_id)
);
