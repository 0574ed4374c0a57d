-- Restaurants, their menus and their hours.
--
-- Who may do what, by row: everybody the host vouched for reads what is public; the owner, as long as the account holds
-- RESTAURANT_OWNER, and ADMIN write. Each table carries its owner, tied to the restaurant by a foreign key, so that no
-- policy reads another table and a statement's grants are the whole of what it needs.

create type restaurants.cuisine as enum (
    'african', 'american', 'bakery', 'chinese', 'french', 'georgian', 'greek', 'indian', 'italian', 'japanese',
    'korean', 'mexican', 'middle_eastern', 'portuguese', 'seafood', 'steakhouse', 'thai', 'vegan', 'vietnamese',
    'other'
);

create table restaurants.restaurant (
    id uuid constraint restaurant_is_known primary key default gen_random_uuid(),
    owner_id uuid not null,
    name text not null constraint restaurant_name_fits check (char_length(name) <= 100),
    cuisine restaurants.cuisine not null,
    description text constraint restaurant_description_fits check (char_length(description) <= 1000),
    address text not null constraint restaurant_address_fits check (char_length(address) <= 200),
    currency text not null constraint restaurant_currency_fits check (char_length(currency) <= 3),
    time_zone text not null constraint restaurant_time_zone_fits check (char_length(time_zone) <= 64),
    accepting_orders boolean not null default true,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    closed_at timestamptz,
    constraint restaurant_has_one_owner unique (id, owner_id),
    -- Raises 22023 for a zone that PostgreSQL does not know, so that no stored row can fail a search.
    constraint restaurant_time_zone_is_known check (timezone(time_zone, timestamptz '2000-01-01 00:00:00Z') is not null)
);

-- The order of the search and its cursor.
create index restaurant_by_name on restaurants.restaurant (name, id) where closed_at is null;

create table restaurants.opening (
    restaurant_id uuid not null,
    owner_id uuid not null,
    -- ISO 8601: Monday is 1.
    weekday smallint not null constraint opening_weekday_is_one check (weekday >= 1 and weekday <= 7),
    opens_minute integer not null constraint opening_begins_on_its_day check (opens_minute >= 0 and opens_minute < 1440),
    closes_minute integer not null,
    constraint opening_is_unique primary key (restaurant_id, weekday, opens_minute),
    constraint opening_lasts_a_day_at_most
        check (closes_minute > opens_minute and closes_minute <= opens_minute + 1440),
    constraint opening_has_a_restaurant
        foreign key (restaurant_id, owner_id) references restaurants.restaurant (id, owner_id)
);

create table restaurants.menu_section (
    id uuid constraint menu_section_is_known primary key default gen_random_uuid(),
    restaurant_id uuid not null,
    owner_id uuid not null,
    name text not null constraint menu_section_name_fits check (char_length(name) <= 80),
    position integer not null,
    constraint menu_section_name_is_taken unique (restaurant_id, name),
    constraint menu_section_is_of_one_restaurant unique (id, restaurant_id),
    constraint menu_section_has_a_restaurant
        foreign key (restaurant_id, owner_id) references restaurants.restaurant (id, owner_id)
);

create table restaurants.menu_item (
    id uuid constraint menu_item_is_known primary key default gen_random_uuid(),
    restaurant_id uuid not null,
    owner_id uuid not null,
    section_id uuid not null,
    name text not null constraint menu_item_name_fits check (char_length(name) <= 100),
    description text constraint menu_item_description_fits check (char_length(description) <= 500),
    price_cents bigint not null
        constraint menu_item_price_is_sane check (price_cents >= 0 and price_cents <= 10000000),
    available boolean not null,
    constraint menu_item_name_is_taken unique (restaurant_id, name),
    constraint menu_item_has_a_restaurant
        foreign key (restaurant_id, owner_id) references restaurants.restaurant (id, owner_id),
    constraint menu_item_has_a_section
        foreign key (section_id, restaurant_id) references restaurants.menu_section (id, restaurant_id)
);

-- For the foreign key: removing a section looks for its items.
create index menu_item_by_section on restaurants.menu_item (section_id, restaurant_id);
