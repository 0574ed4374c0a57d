create table shelf.item (
    id uuid constraint item_is_known primary key default gen_random_uuid(),
    owner_id uuid not null,
    name text not null constraint item_name_fits check (char_length(name) <= 100),
    price_cents bigint not null,
    quantity integer not null,
    available boolean not null
);

create index item_by_owner on shelf.item (owner_id, id);

alter table shelf.item enable row level security, force row level security;
create policy item_is_its_owners on shelf.item using (owner_id = (select platform.caller_id()));
