//! A small plugin schema that several topics prove statements against.

use dinehub::{
    database::{
        migrate::Migration,
        privilege::{Draft, DraftParam, Prover},
        scratch,
        statement::{Arity, Statement},
        target::Target,
    },
    error::Setup,
    id::PluginId,
};

pub(crate) const SCHEMA: &str = "
    create type ordering.state as enum ('placed', 'done');
    create table ordering.purchase (
      id uuid primary key default gen_random_uuid(),
      account_id uuid not null,
      state ordering.state not null default 'placed',
      note text check (char_length(note) <= 500),
      tags varchar(20)[] not null default '{}' check (cardinality(tags) <= 10),
      total_cents int8 not null default 0,
      placed_at timestamptz not null default now());
    create table ordering.line (
      purchase_id uuid not null references ordering.purchase (id) on delete cascade,
      item text not null check (char_length(item) between 1 and 80),
      quantity int4 not null check (quantity > 0),
      primary key (purchase_id, item));
    create table ordering.notice (id int8 generated always as identity primary key, at date not null);
    alter table ordering.purchase enable row level security;
    alter table ordering.purchase force row level security;
    alter table ordering.line enable row level security;
    alter table ordering.line force row level security;
    alter table ordering.notice enable row level security;
    alter table ordering.notice force row level security;
    create policy own on ordering.purchase
      using (account_id = (select platform.caller_id()) or (select platform.caller_has('ADMIN')));
    create policy own on ordering.line using (exists (
      select from ordering.purchase p where p.id = purchase_id and p.account_id = (select platform.caller_id())));
    create policy everybody on ordering.notice for select using (true);";

pub(crate) fn id() -> PluginId {
    "ordering".parse().unwrap()
}

pub(crate) fn migration(name: &str, text: &str) -> Migration {
    Migration { name: name.into(), text: text.into() }
}

pub(crate) fn draft(text: &str, arity: Arity, params: usize) -> Draft {
    let params = (0..params).map(|n| DraftParam { name: format!("p{n}"), nullable: false }).collect();
    Draft { handle: "orders".into(), name: "it".into(), purpose: "Test.".into(), text: text.into(), arity, params }
}

/// Proves each draft by itself in one scratch database with [`SCHEMA`].
pub(crate) async fn prove_all(admin: &Target, drafts: &[Draft]) -> Vec<Setup<Statement>> {
    scratch::within(admin, &id(), &[migration("0001.sql", SCHEMA)], async |scratch, catalog| {
        let prover = Prover::new(scratch, catalog).await?;
        let mut results = Vec::new();
        for draft in drafts {
            results.push(prover.prove(draft).await);
        }
        Ok(results)
    })
    .await
    .unwrap_or_else(|fault| panic!("{fault}"))
}
