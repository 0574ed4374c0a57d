-- One payment an order: what is wanted of the provider, and what it said.
--
--     due ──────▶ charged ──────▶ refunding ──▶ refunded
--      │ │                            ▲
--      │ └──▶ declined                │ (it had been charged)
--      └─────▶ unwanted ──────────────┘
--
-- A row is written when its order is placed, before the provider hears of it, and moved when the provider's answer is
-- known. What is to be asked waits in the platform's outbox meanwhile. `unwanted` is an order that came to nothing
-- before the answer was known: whatever the provider took goes back when it says so.

create type payments.payment_state as enum ('due', 'charged', 'declined', 'unwanted', 'refunding', 'refunded');

create table payments.payment (
    order_id uuid constraint payment_is_known primary key,
    customer_id uuid not null,
    owner_id uuid not null,
    restaurant_id uuid not null,
    amount_cents bigint not null constraint payment_amount_is_sane check (amount_cents > 0 and amount_cents <= 49500000000),
    currency text not null constraint payment_currency_fits check (char_length(currency) <= 3),
    state payments.payment_state not null default 'due',
    -- The provider's names for what it did.
    charge_id text constraint payment_charge_id_fits check (char_length(charge_id) <= 100),
    refund_id text constraint payment_refund_id_fits check (char_length(refund_id) <= 100),
    reason text constraint payment_reason_fits check (char_length(reason) <= 200),
    -- When the provider was last to be asked; null when it never was.
    asked_at timestamptz,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    constraint payment_names_its_charge check (state not in ('charged', 'refunding', 'refunded') or charge_id is not null),
    constraint payment_names_its_refund check (state <> 'refunded' or refund_id is not null)
);

create index payment_by_restaurant on payments.payment (restaurant_id, created_at, order_id);
create index payment_by_asking on payments.payment (asked_at) where state in ('due', 'unwanted', 'refunding');

-- Only the platform writes: an event, a schedule, never a request. A webhook is a request of nobody, so it publishes what
-- it was told and writes nothing.
alter table payments.payment enable row level security, force row level security;

create policy payment_is_seen_by_both_sides on payments.payment for select
    using (customer_id = (select platform.caller_id())
           or (owner_id = (select platform.caller_id()) and (select platform.caller_has('RESTAURANT_OWNER')))
           or (select platform.caller_has('ADMIN'))
           or (select platform.caller_kind()) = 'system');

create policy payment_is_wanted_by_the_platform on payments.payment for insert
    with check ((select platform.caller_kind()) = 'system');

create policy payment_is_moved_by_the_platform on payments.payment for update
    using ((select platform.caller_kind()) = 'system')
    with check ((select platform.caller_kind()) = 'system');
